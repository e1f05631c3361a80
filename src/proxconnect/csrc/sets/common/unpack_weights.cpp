// Unpacks weights to floats, sixteen at a time.

#include <cstring>

#include "sets/common/kernels.h"
#include "sets/common/lanes.h"

namespace proxconnect::KERNEL_SET {
namespace {

// Returns the bits of `count` elements, up to sixteen.
unsigned sixteen_bits(const std::uint8_t* bits, std::int64_t count) {
  return bits[0] | (count > 8 ? static_cast<unsigned>(bits[1]) << 8 : 0u);
}

// Returns the scales of the elements from `column` on.
Floats scales_from(const float* scales, std::int64_t column, std::int64_t count, std::int64_t group) {
  const std::int64_t first = column / group;
  if (first == (column + count - 1) / group) return scales[first] - Floats{};
  Floats mixed = {};
  for (std::int64_t i = 0; i < count; ++i) mixed[i] = scales[(column + i) / group];
  return mixed;
}

}  // namespace

void unpack_weights(const PackedRows& packed, Range rows, float* weights) {
  const std::int64_t columns = packed.columns;
  const std::int64_t width = packed_width(columns);
  constexpr Integers sign_bit = Integers{} + INT32_MIN;
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const float* scales = packed.scale + row * packed.groups();
    float* out = weights + row * columns;
    for (std::int64_t column = 0; column < columns; column += panel_width) {
      const std::int64_t count = own::min(columns - column, panel_width);
      const std::int64_t byte = row * width + column / 8;
      const Integers set = mask_of_bits(sixteen_bits(packed.signs + byte, count));
      const Floats scale = scales_from(scales, column, count, packed.group);
      Integers bits;
      std::memcpy(&bits, &scale, sizeof bits);
      bits ^= ~set & sign_bit;
      if (packed.nonzero) bits &= mask_of_bits(sixteen_bits(packed.nonzero + byte, count));
      store(bits, reinterpret_cast<std::int32_t*>(out + column), static_cast<int>(count));
    }
  }
}

}  // namespace proxconnect::KERNEL_SET
