// Passes over latent weights, activations and outputs, split among threads.

#include "drivers/latents.h"

#include <algorithm>

#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/useful_threads.h"

namespace proxconnect {
namespace {

// The least work for a thread, in elements: each takes as long as 64 products.
constexpr std::int64_t least_elements = std::int64_t{1} << 14;

// Calls work(range) for parts of the elements of a matrix. Parts begin at multiples of sixteen.
template <typename Work>
void parallel_elements(std::int64_t rows, std::int64_t columns, std::int64_t threads, const Work& work) {
  check_matrix(rows, columns);
  const std::int64_t size = rows * columns;
  const std::int64_t vectors = (size + panel_width - 1) / panel_width;
  const auto vector_part = [&](Range part) {
    work(Range{part.begin * panel_width, std::min(part.end * panel_width, size)});
  };
  parallel_ranges(vectors, useful_threads(threads, size, least_elements), vector_part, 1);
}

// Calls work(range) for parts of the rows of a matrix.
template <typename Work>
void parallel_rows(std::int64_t rows, std::int64_t columns, std::int64_t threads, const Work& work) {
  check_matrix(rows, columns);
  parallel_ranges(rows, std::min(rows, useful_threads(threads, rows * columns, least_elements)), work, 1);
}

}  // namespace

void mean_magnitudes(const float* values, std::int64_t rows, std::int64_t columns, float* mean, std::int64_t threads) {
  parallel_rows(rows, columns, threads, [&](Range part) {
    active_kernels().mean_magnitudes(values, columns, mean, part);
    settle_means(values + part.begin * columns, part.end - part.begin, columns, mean + part.begin);
  });
}

void settle_means(const float* values, std::int64_t rows, std::int64_t columns, float* mean) {
  check_matrix(rows, columns);
  for (std::int64_t row = 0; row < rows && columns > 0; ++row) {
    const float* from = values + row * columns;
    const float magnitude = from[0] < 0.0f ? -from[0] : from[0];
    std::int64_t alike = 0;
    while (alike < columns && (from[alike] == magnitude || from[alike] == -magnitude)) ++alike;
    if (alike == columns) mean[row] = magnitude;
  }
}

void quantize(const Latents& w, const ElementwiseMap& map, float* out, float* codes, std::int64_t threads) {
  parallel_elements(w.rows, w.columns, threads,
                    [&](Range part) { active_kernels().quantize(w, map, out, codes, part); });
}

void quantize_by_means(const Latents& w, const ElementwiseMap& map, float* alpha, float* out, float* codes,
                       std::int64_t threads) {
  const KernelSet& kernels = active_kernels();
  const Latents by_means{w.values, w.rows, w.columns, w.s, alpha, w.step};
  parallel_rows(w.rows, w.columns, threads, [&](Range part) {
    for (std::int64_t row = part.begin; row < part.end; ++row) {  // read once from memory, then from the cache
      kernels.mean_magnitudes(w.values, w.columns, alpha, Range{row, row + 1});
      settle_means(w.values + row * w.columns, 1, w.columns, alpha + row);
      kernels.quantize(by_means, map, out, codes, Range{row * w.columns, (row + 1) * w.columns});
    }
  });
}

void scale_gradient(const Latents& w, const ElementwiseMap& map, const float* g, float* out, std::int64_t threads) {
  parallel_elements(w.rows, w.columns, threads,
                    [&](Range part) { active_kernels().scale_gradient(w, map, g, out, part); });
}

void quantize_and_mark(const float* x, std::int64_t size, const ElementwiseMap& map, float mu, float* out,
                       std::uint16_t* inside, std::int64_t threads) {
  parallel_elements(1, size, threads,
                    [&](Range part) { active_kernels().quantize_and_mark(x, map, mu, out, inside, part); });
}

void scale_marked(const std::uint16_t* inside, std::int64_t size, float mu, const float* g, float* out,
                  std::int64_t threads) {
  parallel_elements(1, size, threads, [&](Range part) { active_kernels().scale_marked(inside, mu, g, out, part); });
}

void scale_outputs(float* y, std::int64_t rows, std::int64_t columns, const float* scale, const float* bias,
                   std::int64_t threads) {
  parallel_rows(rows, columns, threads,
                [&](Range part) { active_kernels().scale_outputs(y, columns, scale, bias, part); });
}

}  // namespace proxconnect
