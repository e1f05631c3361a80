// What training does to latent weights, activations and outputs, and the activations of networks.

#include <algorithm>
#include <cmath>

#include "checks.h"
#include "drivers/activation.h"
#include "drivers/attention.h"
#include "drivers/latents.h"

namespace {

// Latents with their scales, which are empty where they are not given.
struct LatentCase {
  int64_t rows, columns;
  MapKind kind;
  std::vector<float> constants, cells, values, s, alpha;
  ElementwiseMap map;

  explicit LatentCase(CaseFile& file)
      : rows(file.number()), columns(file.number()), kind(static_cast<MapKind>(file.number())),
        constants(file.array<float>()), cells(file.array<float>()), values(file.array<float>()),
        s(file.array<float>()), alpha(file.array<float>()),
        map{kind, constants[0], constants[1], constants[2], cells.data()} {}

  std::string described(const char* what) const {
    return ::described(what, rows, 0, columns) + ", map " + std::to_string(static_cast<int>(map.kind));
  }
};

struct GuardedLatents {
  Guarded<float> values, s, alpha;
  Latents latents;

  GuardedLatents(const LatentCase& of, Edge edge)
      : values(of.values, edge), s(of.s, edge), alpha(of.alpha, edge),
        latents{values.get(), of.rows, of.columns, s.or_null(), alpha.or_null(), s.size() > 1 || alpha.size() > 1} {}
};

void check_mean_magnitudes(CaseFile& file) {
  const int64_t rows = file.number();
  const int64_t columns = file.number();
  const auto values = file.array<float>();
  check(described("mean_magnitudes", rows, 0, columns), file.array<float>(), [&](float* mean, Run run) {
    const Guarded<float> from(values, run.edge);
    mean_magnitudes(from.get(), rows, columns, mean, run.threads);
  });
}

void check_quantize(CaseFile& file) {
  const LatentCase of(file);
  const auto expected_codes = file.array<float>();
  const auto expected = file.array<float>();
  const std::string what = of.described("quantize");
  check(what, expected, [&](float* out, Run run) {
    const GuardedLatents w(of, run.edge);
    quantize(w.latents, of.map, out, nullptr, run.threads);
  });
  check(what + " with codes", expected, [&](float* out, Run run) {
    const GuardedLatents w(of, run.edge);
    const Guarded<float> codes(std::vector<float>(expected_codes.size()), run.edge);
    quantize(w.latents, of.map, out, codes.get(), run.threads);
    expect(same(codes.values(), expected_codes), what + " makes other codes");
  });
}

void check_quantize_by_means(CaseFile& file) {
  const LatentCase of(file);
  const auto expected_codes = file.array<float>();
  const auto means = file.array<float>();
  const auto expected = file.array<float>();
  const std::string what = of.described("quantize_by_means");
  check(what, expected, [&](float* out, Run run) {
    const GuardedLatents w(of, run.edge);
    const Guarded<float> alpha(std::vector<float>(means.size()), run.edge);
    const Guarded<float> codes(std::vector<float>(expected_codes.size()), run.edge);
    quantize_by_means(w.latents, of.map, alpha.get(), out, codes.get(), run.threads);
    expect(same(alpha.values(), means), what + " takes other means");
    expect(same(codes.values(), expected_codes), what + " makes other codes");
  });
}

void check_scale_gradient(CaseFile& file) {
  const LatentCase of(file);
  const auto gradient = file.array<float>();
  check(of.described("scale_gradient"), file.array<float>(), [&](float* out, Run run) {
    const GuardedLatents w(of, run.edge);
    const Guarded<float> g(gradient, run.edge);
    scale_gradient(w.latents, of.map, g.get(), out, run.threads);
  });
}

void check_quantize_and_mark(CaseFile& file) {
  const LatentCase of(file);
  const float mu = file.array<float>()[0];
  const auto expected = file.array<std::uint16_t>();
  const auto values = file.array<float>();
  const std::string what = of.described("quantize_and_mark");
  check(what, values, [&](float* out, Run run) {
    const Guarded<float> x(of.values, run.edge);
    const Guarded<std::uint16_t> inside(std::vector<std::uint16_t>(expected.size()), run.edge);
    quantize_and_mark(x.get(), x.size(), of.map, mu, out, inside.get(), run.threads);
    expect(same(inside.values(), expected), what + " marks others");
  });
}

void check_scale_marked(CaseFile& file) {
  const auto marks = file.array<std::uint16_t>();
  const float mu = file.array<float>()[0];
  const auto gradient = file.array<float>();
  check(described("scale_marked", 1, 0, static_cast<int64_t>(gradient.size())), file.array<float>(),
        [&](float* out, Run run) {
          const Guarded<std::uint16_t> inside(marks, run.edge);
          const Guarded<float> g(gradient, run.edge);
          scale_marked(inside.get(), g.size(), mu, g.get(), out, run.threads);
        });
}

void check_scale_outputs(CaseFile& file) {
  const int64_t rows = file.number();
  const int64_t columns = file.number();
  const auto before = file.array<float>();
  const auto scale = file.array<float>();
  const auto bias = file.array<float>();
  check(described("scale_outputs", rows, 0, columns), file.array<float>(), [&](float* y, Run run) {
    const Guarded<float> scales(scale, run.edge);
    const Guarded<float> biases(bias, run.edge);
    std::memcpy(y, before.data(), before.size() * sizeof(float));
    scale_outputs(y, rows, columns, scales.get(), biases.or_null(), run.threads);
  });
}

void check_activate(CaseFile& file) {
  const auto activation = static_cast<Activation>(file.number());
  const auto before = file.array<float>();
  const std::string what = described("activate", 1, 0, static_cast<int64_t>(before.size()));
  check(what, file.array<float>(), [&](float* out, Run run) {
    const Guarded<float> x(before, run.edge);
    activate(x.get(), x.size(), activation, out, run.threads);
    const Guarded<float> in_place(before, run.edge);
    activate(in_place.get(), x.size(), activation, in_place.get(), run.threads);
    expect(same(in_place.values(), std::vector<float>(out, out + x.size())), what + " differs in place");
  });
}

void check_attention(CaseFile& file) {
  int64_t size[6];
  for (int64_t& one : size) one = file.number();
  const auto [batches, heads, queries, keys, features, outputs] = size;
  const float scale = file.array<float>()[0];
  const auto query = file.array<float>(), key = file.array<float>(), value = file.array<float>();
  const std::string what = described("attention", queries, keys, features);
  check(what, file.array<float>(), [&](float* out, Run run) {
    const Guarded<float> q(query, run.edge), k(key, run.edge), v(value, run.edge);
    const auto rows = [&](const Guarded<float>& x, int64_t count, int64_t columns) {
      return HeadsOfRows{x.get(), heads * count * columns, count * columns, columns};
    };
    const auto of = [&](float* to) {
      return Attention{batches, heads, queries, keys, features, outputs, rows(q, queries, features),
                       rows(k, keys, features), rows(v, keys, outputs), scale, to};
    };
    expect(attend(of(out), false, run.threads), what + " is not computed");
    const Guarded<float> narrow(std::vector<float>(static_cast<std::size_t>(batches * heads * queries * outputs)), run.edge);
    if (!attend(of(narrow.get()), true, run.threads)) return;  // only sets with tiles compute it
    float greatest = 0.0f;
    for (const float one : value) greatest = std::max(greatest, std::abs(one));
    for (int64_t i = 0; i < narrow.size(); ++i) {
      expect(std::abs(narrow.get()[i] - out[i]) <= 0.03f * greatest, what + " differs in bfloat16");
    }
  });
}

}  // namespace

Checks latent_checks() {
  return {{"mean_magnitudes", check_mean_magnitudes},     {"quantize", check_quantize},
          {"quantize_by_means", check_quantize_by_means}, {"scale_gradient", check_scale_gradient},
          {"quantize_and_mark", check_quantize_and_mark}, {"scale_marked", check_scale_marked},
          {"scale_outputs", check_scale_outputs},         {"activate", check_activate},
          {"attention", check_attention}};
}
