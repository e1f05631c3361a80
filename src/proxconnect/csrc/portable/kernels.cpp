// Kernels in standard C++20, for any processor.

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core.h"

namespace proxconnect::portable {
namespace {

bool runs_here() { return true; }

std::int64_t first_nan(const float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (std::isnan(x[i])) return i;
  }
  return -1;
}

std::uint8_t pack_byte(const float* x, std::int64_t count) {
  unsigned byte = 0;
  for (std::int64_t i = 0; i < count; ++i) byte |= static_cast<unsigned>(x[i] >= 0.0f) << i;
  return static_cast<std::uint8_t>(byte);
}

std::int64_t pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits) {
  if (const std::int64_t index = first_nan(x, rows * columns); index >= 0) return index;
  for (std::int64_t row = 0; row < rows; ++row, x += columns) {
    std::int64_t column = 0;
    for (; column + 8 <= columns; column += 8) *bits++ = pack_byte(x + column, 8);
    if (column < columns) *bits++ = pack_byte(x + column, columns - column);
  }
  return -1;
}

void unpack_byte(unsigned byte, float scale, std::int64_t count, float* weights) {
  for (std::int64_t i = 0; i < count; ++i) weights[i] = (byte >> i) & 1u ? scale : -scale;
}

void unpack_weights(const std::uint8_t* bits, const float* scale, std::int64_t rows, std::int64_t columns,
                    float* weights) {
  for (std::int64_t row = 0; row < rows; ++row, weights += columns) {
    std::int64_t column = 0;
    for (; column + 8 <= columns; column += 8) unpack_byte(*bits++, scale[row], 8, weights + column);
    if (column < columns) unpack_byte(*bits++, scale[row], columns - column, weights + column);
  }
}

std::uint64_t load(const std::uint8_t* bytes, std::size_t count) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, count);
  return word;
}

std::int64_t differing_bits(const std::uint8_t* a, const std::uint8_t* b, std::int64_t bytes) {
  std::int64_t count = 0;
  std::int64_t i = 0;
  for (; i + 8 <= bytes; i += 8) count += std::popcount(load(a + i, 8) ^ load(b + i, 8));
  if (i < bytes) {
    // The last word ends where the row ends: what follows may not be ours to read.
    const auto rest = static_cast<std::size_t>(bytes - i);
    count += std::popcount(load(a + i, rest) ^ load(b + i, rest));
  }
  return count;
}

void w1a1_matmul(const std::uint8_t* a, std::int64_t a_stride, const std::uint8_t* b, std::int64_t b_stride,
                 std::int64_t m, std::int64_t n, std::int64_t k, std::int32_t* out) {
  const std::int64_t bytes = packed_width(k);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      // Equal signs add one, differing signs take one away.
      *out++ = static_cast<std::int32_t>(k - 2 * differing_bits(a + i * a_stride, b + j * b_stride, bytes));
    }
  }
}

}  // namespace

extern const KernelSet kernels;
const KernelSet kernels{"portable", runs_here, pack_signs, unpack_weights, w1a1_matmul};

}  // namespace proxconnect::portable
