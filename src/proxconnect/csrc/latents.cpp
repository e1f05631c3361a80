#include "latents.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>

#include "dispatch.h"
#include "pool.h"
#include "worthwhile.h"

namespace proxconnect {
namespace {

// The least work in elements: each takes as long as many products.
constexpr std::int64_t least_elements = std::int64_t{1} << 14;

// GNU OpenMP's entry to a parallel region, where the process has loaded it, as torch does on Linux.
using OpenMP = void (*)(void (*work)(void*), void* context, unsigned threads, unsigned flags);
OpenMP openmp() {
  static const auto found = reinterpret_cast<OpenMP>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  return found;
}

// As parallel_ranges, by torch's own threads where they can be had: these spin for a while after an operator of
// torch's, and would contend with another pool for the processors.
template <typename Work>
void by_torchs_threads(std::int64_t size, std::int64_t threads, const Work& work) {
  if (threads <= 1 || !openmp()) return parallel_ranges(size, threads, work);
  struct Context {
    const Work& work;
    std::int64_t size;
    std::int64_t parts;
    std::atomic<std::int64_t> next{0};
  } context{work, size, threads};
  openmp()(
      [](void* address) {
        Context& c = *static_cast<Context*>(address);
        // Inside another parallel region there may be fewer threads than parts.
        for (std::int64_t i; (i = c.next.fetch_add(1)) < c.parts;) {
          c.work(Range{c.size * i / c.parts, c.size * (i + 1) / c.parts});
        }
      },
      &context, static_cast<unsigned>(threads), 0);
}

// work(range) for the parts of `size` elements, which begin at multiples of sixteen.
template <typename Work>
void parallel_elements(std::int64_t size, std::int64_t threads, const Work& work) {
  const std::int64_t lanes = (size + panel_width - 1) / panel_width;
  by_torchs_threads(lanes, worthwhile(threads, size, least_elements), [&](Range part) {
    work(Range{part.begin * panel_width, std::min(part.end * panel_width, size)});
  });
}

template <typename Work>
void parallel_rows(std::int64_t rows, std::int64_t columns, std::int64_t threads, const Work& work) {
  by_torchs_threads(rows, std::min(rows, worthwhile(threads, rows * columns, least_elements)), work);
}

}  // namespace

void mean_magnitudes(const float* values, std::int64_t rows, std::int64_t columns, float* mean, std::int64_t threads) {
  parallel_rows(rows, columns, threads,
                [&](Range part) { active_kernels().mean_magnitudes(values, columns, mean, part); });
}

void quantize(const Latents& w, const ElementwiseMap& map, float* out, float* codes, std::int64_t threads) {
  parallel_elements(w.rows * w.columns, threads,
                    [&](Range part) { active_kernels().quantize(w, map, out, codes, part); });
}

void quantize_by_means(const Latents& w, const ElementwiseMap& map, float* alpha, float* out, float* codes,
                       std::int64_t threads) {
  const KernelSet& kernels = active_kernels();
  const Latents by_means{w.values, w.rows, w.columns, w.s, alpha, w.step};
  parallel_rows(w.rows, w.columns, threads, [&](Range part) {
    for (std::int64_t row = part.begin; row < part.end; ++row) {  // read once from memory, then from the cache
      kernels.mean_magnitudes(w.values, w.columns, alpha, Range{row, row + 1});
      kernels.quantize(by_means, map, out, codes, Range{row * w.columns, (row + 1) * w.columns});
    }
  });
}

void scale_gradient(const Latents& w, const ElementwiseMap& map, const float* g, float* out, std::int64_t threads) {
  parallel_elements(w.rows * w.columns, threads,
                    [&](Range part) { active_kernels().scale_gradient(w, map, g, out, part); });
}

void quantize_and_mark(const float* x, std::int64_t size, const ElementwiseMap& map, float mu, float* out,
                       std::uint16_t* inside, std::int64_t threads) {
  parallel_elements(size, threads,
                    [&](Range part) { active_kernels().quantize_and_mark(x, map, mu, out, inside, part); });
}

void scale_marked(const std::uint16_t* inside, std::int64_t size, float mu, const float* g, float* out,
                  std::int64_t threads) {
  parallel_elements(size, threads, [&](Range part) { active_kernels().scale_marked(inside, mu, g, out, part); });
}

void scale_outputs(float* y, std::int64_t rows, std::int64_t columns, const float* scale, const float* bias,
                   std::int64_t threads) {
  parallel_rows(rows, columns, threads,
                [&](Range part) { active_kernels().scale_outputs(y, columns, scale, bias, part); });
}

}  // namespace proxconnect
