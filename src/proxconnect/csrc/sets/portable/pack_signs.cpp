// Packs signs in standard C++.

#include "sets/common/kernels.h"

namespace proxconnect::portable {
namespace {

std::uint8_t pack_byte(const float* x, std::int64_t count) {
  unsigned byte = 0;
  for (std::int64_t i = 0; i < count; ++i) byte |= static_cast<unsigned>(x[i] >= 0.0f) << i;
  return static_cast<std::uint8_t>(byte);
}

}  // namespace

bool pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits) {
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    if (x[i] != x[i]) return true;
  }
  for (std::int64_t row = 0; row < rows; ++row, x += columns) {
    std::int64_t column = 0;
    for (; column + 8 <= columns; column += 8) *bits++ = pack_byte(x + column, 8);
    if (column < columns) *bits++ = pack_byte(x + column, columns - column);
  }
  return false;
}

}  // namespace proxconnect::portable
