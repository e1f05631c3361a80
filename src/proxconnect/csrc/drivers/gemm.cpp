// Products of whole matrices: each is checked, split among threads, and computed part by part by the kernels in use.

#include "drivers/gemm.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/useful_threads.h"

namespace proxconnect {
namespace {

// Calls part(rows, panels) for parts of an m-row product: of its rows where there are enough of them to keep every
// thread's micro-kernels full, of its panels otherwise. Each part of the panels prepares all rows for itself, so a
// thread gets one such part.
template <typename Part>
void split(std::int64_t m, const Panels& b, std::int64_t threads, const Part& part,
           std::int64_t row_parts_of_thread = several_parts) {
  constexpr std::int64_t enough_rows = 16;
  const std::int64_t useful = useful_threads(threads, m * b.n * b.k);
  const std::int64_t panels = panels_of(b.n);
  if (m >= enough_rows * useful) {
    // Parts begin at multiples of the rows of a micro-kernel where that leaves enough parts.
    const std::int64_t unit = m >= 8 * several_parts * useful ? 8 : 1;
    const auto row_part = [&](Range units) {
      part(Range{units.begin * unit, std::min(m, units.end * unit)}, Range{0, panels});
    };
    parallel_ranges((m + unit - 1) / unit, useful, row_part, row_parts_of_thread);
  } else {
    parallel_ranges(panels, useful, [&](Range panel_part) { part(Range{0, m}, panel_part); }, 1);
  }
}

// Ternary weights have two planes of signs.
constexpr std::int64_t most_planes = 2;

// Returns the rows filled up to whole words with zeros: themselves where they are such, otherwise made in `copy`.
SignRows whole_words(const SignRows& a, std::int64_t k, std::vector<std::uint8_t>& copy) {
  const std::int64_t width = packed_width(k);
  const std::int64_t stride = words_of(k) * 4;
  if (width == stride) return a;
  copy.assign(static_cast<std::size_t>(a.m * stride), 0);
  for (std::int64_t row = 0; row < a.m; ++row) std::copy_n(a.bits + row * a.stride, width, copy.data() + row * stride);
  return {copy.data(), stride, a.m};
}

template <typename Output>
void gemm_of_signs(const W1A1<Output>& product, std::int64_t threads,
                   void (*kernel)(const W1A1Part<Output>&, Range)) {
  constexpr std::int64_t block_rows = 64;  // meet a panel while it is in the first-level cache
  const Panels& b = product.b;
  check_product(product.a.m, b);
  split(product.a.m, b, threads, [&](Range rows, Range panels) {
    std::vector<std::uint8_t> copy;
    const SignRows& matrix = product.a;
    const SignRows a =
        whole_words({matrix.bits + rows.begin * matrix.stride, matrix.stride, rows.end - rows.begin}, b.k, copy);
    const std::int64_t start = 0;
    for (std::int64_t row = 0; row < a.m; row += block_rows) {
      const SignLines block{a.bits + row * a.stride, 1, std::min(block_rows, a.m - row), 0, a.stride, 0, &start, 1,
                            words_of(b.k)};
      kernel({block, b.words, b.panel_words(), b.n, b.k, 1, product.wrap, product.output, rows.begin + row, {}},
             panels);
    }
  });
}

}  // namespace

void gemm(const W1A1<SumsOutput>& product, std::int64_t threads) {
  gemm_of_signs(product, threads, active_kernels().w1a1_sums);
}

void gemm(const W1A1<AffineOutput>& product, std::int64_t threads) {
  gemm_of_signs(product, threads, active_kernels().w1a1_affine);
}

void gemm(const W1A1<SignsOutput>& product, std::int64_t threads) {
  gemm_of_signs(product, threads, active_kernels().w1a1_signs);
}

void gemm(const W1A1<ChainOutput>& product, std::int64_t threads) {
  gemm_of_signs(product, threads, active_kernels().w1a1_chain);
}

bool gemm(const W1A8& product, std::int64_t threads) {
  check_product(product.x.m, product.b, most_planes);
  check_group(product.b.k, product.group, word_bits);
  check_greatest(product.greatest);
  std::atomic<bool> finite{true};
  const auto part = [&](Range rows, Range panels) {
    if (!active_kernels().w1a8(product, rows, panels)) finite.store(false, std::memory_order_relaxed);
  };
  split(product.x.m, product.b, threads, part, 1);  // each part of the rows unpacks all signs for itself
  return finite;
}

void gemm(const W1A32& product, std::int64_t threads) {
  check_product(product.x.m, product.b, most_planes);
  check_group(product.b.k, product.group, word_bits);
  split(product.x.m, product.b, threads,
        [&](Range rows, Range panels) { active_kernels().w1a32(product, rows, panels); });
}

}  // namespace proxconnect
