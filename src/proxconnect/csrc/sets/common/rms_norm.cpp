// Root mean square normalization of rows.

#include "sets/common/kernels.h"
#include "sets/common/lane_sums.h"

namespace proxconnect::KERNEL_SET {

void rms_norm(const float* x, std::int64_t columns, const float* weight, float epsilon, float* out, Range rows) {
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const float* const from = x + row * columns;
    float* const to = out + row * columns;
    const float squares = sum_of_panels(columns, [&](std::int64_t i, int width) {
      const Floats some = load<Floats>(from + i, width);
      return some * some;
    });
    const float share = 1.0f / __builtin_sqrtf(squares / static_cast<float>(columns) + epsilon);
    for (std::int64_t i = 0; i < columns; i += panel_width) {
      const int width = lanes_from(i, columns);
      store(load<Floats>(weight + i, width) * (load<Floats>(from + i, width) * share), to + i, width);
    }
  }
}

}  // namespace proxconnect::KERNEL_SET
