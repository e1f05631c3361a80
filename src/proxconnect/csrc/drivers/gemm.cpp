#include "drivers/gemm.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/worthwhile.h"

namespace proxconnect {
namespace {

// Calls part(rows, panels) for parts of an m-row product: of its rows where there are enough of them to keep every
// thread's tiles full, of its panels otherwise. Each part of the panels prepares all rows for itself, so that there is
// one for a thread.
template <typename Part>
void split(std::int64_t m, const Panels& b, std::int64_t threads, const Part& part,
           std::int64_t row_parts_of_thread = several_parts) {
  constexpr std::int64_t enough_rows = 16;
  const std::int64_t useful = worthwhile(threads, m * b.n * b.k);
  const std::int64_t panels = panels_of(b.n);
  if (m >= enough_rows * useful) {
    // Whole tiles but for the last rows, where tiles are many.
    const std::int64_t rows_together = m >= 8 * several_parts * useful ? 8 : 1;
    const auto some_rows = [&](Range some) {
      part(Range{some.begin * rows_together, std::min(m, some.end * rows_together)}, Range{0, panels});
    };
    parallel_ranges((m + rows_together - 1) / rows_together, useful, some_rows, row_parts_of_thread);
  } else {
    parallel_ranges(panels, useful, [&](Range some) { part(Range{0, m}, some); }, 1);
  }
}

// The rows, filled up to whole words with zeros: themselves where they are such, otherwise in `copy`.
SignRows whole_words(const SignRows& a, std::int64_t k, std::vector<std::uint8_t>& copy) {
  const std::int64_t width = packed_width(k);
  const std::int64_t stride = words_of(k) * 4;
  if (width == stride) return a;
  copy.assign(static_cast<std::size_t>(a.m * stride), 0);
  for (std::int64_t row = 0; row < a.m; ++row) std::copy_n(a.bits + row * a.stride, width, copy.data() + row * stride);
  return {copy.data(), stride, a.m};
}

template <typename Output>
void multiply_signs(const W1A1<Output>& product, std::int64_t threads,
                    void (*kernel)(const W1A1Part<Output>&, Range)) {
  constexpr std::int64_t together = 64;  // rows that pass by a panel while it is in the first-level cache
  const Panels& b = product.b;
  check_product(product.a.m, b.n, b.k);
  split(product.a.m, b, threads, [&](Range rows, Range panels) {
    std::vector<std::uint8_t> copy;
    const SignRows& all = product.a;
    const SignRows a =
        whole_words({all.bits + rows.begin * all.stride, all.stride, rows.end - rows.begin}, b.k, copy);
    const std::int64_t start = 0;
    for (std::int64_t row = 0; row < a.m; row += together) {
      const SignLines line{a.bits + row * a.stride, 1, std::min(together, a.m - row), 0, a.stride, 0, &start, 1,
                           words_of(b.k)};
      kernel({line, b.words, b.panel_words(), b.n, b.k, 1, product.wrap, product.output, rows.begin + row, {}}, panels);
    }
  });
}

}  // namespace

bool padding_is_clear(const SignRows& rows, std::int64_t k) {
  check_matrix(rows.m, k);
  if (k % 8 == 0) return true;
  const std::uint8_t* last = rows.bits + k / 8;
  unsigned bits = 0;
  for (std::int64_t row = 0; row < rows.m; ++row) bits |= last[row * rows.stride];
  return bits >> (k % 8) == 0;
}

void make_panels(const SignRows& rows, std::int64_t k, std::uint32_t* words) {
  check_matrix(rows.m, k);
  const std::int64_t panel_words = words_of(k) * panel_width;
  std::fill_n(words, panels_of(rows.m) * panel_words, 0u);
  for (std::int64_t row = 0; row < rows.m; ++row) {
    const std::uint8_t* bits = rows.bits + row * rows.stride;
    std::uint32_t* out = words + row / panel_width * panel_words + row % panel_width;
    for (std::int64_t byte = 0; byte < packed_width(k); ++byte) {
      out[byte / 4 * panel_width] |= static_cast<std::uint32_t>(bits[byte]) << (byte % 4 * 8);
    }
  }
}

std::int64_t pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits,
                        std::int64_t threads) {
  check_matrix(rows, columns);
  std::atomic<bool> nan{false};
  parallel_ranges(rows, worthwhile(threads, products_of_sign * rows * columns), [&](Range part) {
    if (active_kernels().pack_signs(x + part.begin * columns, part.end - part.begin, columns,
                                    bits + part.begin * packed_width(columns))) {
      nan.store(true, std::memory_order_relaxed);
    }
  });
  return nan ? std::find_if(x, x + rows * columns, [](float value) { return std::isnan(value); }) - x : -1;
}

void unpack_weights(const PackedRows& packed, std::int64_t rows, float* weights, std::int64_t threads) {
  check_matrix(rows, packed.columns);
  check_group(packed.columns, packed.group, 1);
  parallel_ranges(rows, worthwhile(threads, rows * packed.columns),
                  [&](Range part) { active_kernels().unpack_weights(packed, part, weights); });
}

void multiply(const W1A1<SumsOutput>& product, std::int64_t threads) {
  multiply_signs(product, threads, active_kernels().w1a1_sums);
}

void multiply(const W1A1<AffineOutput>& product, std::int64_t threads) {
  multiply_signs(product, threads, active_kernels().w1a1_affine);
}

void multiply(const W1A1<SignsOutput>& product, std::int64_t threads) {
  multiply_signs(product, threads, active_kernels().w1a1_signs);
}

bool multiply(const W1A8& product, std::int64_t threads) {
  check_product(product.x.m, product.b.n, product.b.k);
  check_group(product.b.k, product.group, word_bits);
  check_greatest(product.greatest);
  std::atomic<bool> finite{true};
  const auto part = [&](Range rows, Range panels) {
    if (!active_kernels().w1a8(product, rows, panels)) finite.store(false, std::memory_order_relaxed);
  };
  split(product.x.m, product.b, threads, part, 1);  // each part of the rows spreads all signs for itself
  return finite;
}

void multiply(const W1A32& product, std::int64_t threads) {
  check_product(product.x.m, product.b.n, product.b.k);
  split(product.x.m, product.b, threads,
        [&](Range rows, Range panels) { active_kernels().w1a32(product, rows, panels); });
}

}  // namespace proxconnect
