// Activations of whole tensors, split among threads.

#include "drivers/activation.h"

#include <algorithm>

#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/useful_threads.h"

namespace proxconnect {

void activate(const float* x, std::int64_t size, Activation activation, float* out, std::int64_t threads) {
  constexpr std::int64_t least_elements = std::int64_t{1} << 14;  // for a thread
  check_matrix(1, size);
  const std::int64_t vectors = (size + panel_width - 1) / panel_width;
  const auto part = [&](Range of_vectors) {
    const Range elements{of_vectors.begin * panel_width, std::min(of_vectors.end * panel_width, size)};
    active_kernels().activate(x, activation, out, elements);
  };
  parallel_ranges(vectors, useful_threads(threads, size, least_elements), part, 1);
}

}  // namespace proxconnect
