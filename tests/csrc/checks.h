// What the checks of all kernels share. Each reads a case of its kernel from the file, runs the kernel on every set
// that this processor has, in memory that ends where its contract ends, and compares the results bit for bit.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "case_file.h"
#include "sets/dispatch.h"
#include "guarded.h"

using namespace proxconnect;
using std::int64_t;

// By the names of their cases.
using Checks = std::map<std::string, void (*)(CaseFile&)>;
Checks product_checks();
Checks conv_checks();
Checks latent_checks();
Checks decoding_checks();

inline int failures = 0;

// How a kernel is run: with which end of its arrays at a border, by how many threads.
struct Run {
  Edge edge;
  int64_t threads;
};
constexpr Run runs[] = {{Edge::first, 1}, {Edge::last, 3}};

// Equal bits; a NaN equals any other, since processors differ in which one they make.
template <typename T>
bool same(const std::vector<T>& result, const std::vector<T>& expected) {
  if (result.size() != expected.size()) return false;
  for (std::size_t i = 0; i < result.size(); ++i) {
    if constexpr (std::is_same_v<T, float>) {
      if (std::isnan(result[i]) && std::isnan(expected[i])) continue;
    }
    if (std::memcmp(&result[i], &expected[i], sizeof(T)) != 0) return false;
  }
  return true;
}

// compute(out, run) in each of the runs on every kernel set, each time on an output of other values.
template <typename T, typename Compute>
void check(const std::string& what, const std::vector<T>& expected, const Compute& compute) {
  const std::vector<T> before(expected.size(), static_cast<T>(85));
  for (const KernelSet* set : kernel_sets()) {
    if (!use_kernels(set->name)) continue;
    for (const Run& run : runs) {
      const Guarded<T> out(before, run.edge);
      compute(out.get(), run);
      if (same(out.values(), expected)) continue;
      std::printf("%s: %s is wrong, on %lld threads\n", set->name, what.c_str(), static_cast<long long>(run.threads));
      ++failures;
    }
  }
}

inline void expect(bool holds, const std::string& what) {
  if (holds) return;
  std::printf("%s: %s\n", active_kernels().name, what.c_str());
  ++failures;
}

inline std::string described(const char* what, int64_t m, int64_t n, int64_t k) {
  return std::string(what) + " of m = " + std::to_string(m) + ", n = " + std::to_string(n) +
         ", k = " + std::to_string(k);
}

// What an affine output is made of; residual and slope are empty where they are not given.
struct Affine {
  std::vector<float> scale, bias, residual, slope;

  explicit Affine(CaseFile& file)
      : scale(file.array<float>()), bias(file.array<float>()), residual(file.array<float>()),
        slope(file.array<float>()) {}
};

struct GuardedAffine {
  Guarded<float> scale, bias, residual, slope;

  GuardedAffine(const Affine& affine, Edge edge)
      : scale(affine.scale, edge), bias(affine.bias, edge), residual(affine.residual, edge),
        slope(affine.slope, edge) {}

  AffineOutput output(float* out) const {
    return {out, scale.get(), bias.get(), residual.or_null(), slope.or_null()};
  }
};
