// What a set of kernels provides: plain functions over plain memory, knowing neither Python nor torch.
//
// Bit order, shared with docs/format.md: element i of a row is bit (i % 8) of byte i / 8, least significant
// bit first; +1 is 1, -1 is 0. Every row starts on a new byte, and the bits left over in its last byte are zero.
#pragma once

#include <cstdint>

namespace proxconnect {

constexpr std::int64_t packed_width(std::int64_t columns) { return (columns + 7) / 8; }

struct KernelSet {
  const char* name;

  bool (*runs_here)();

  // bits[rows, packed_width(columns)] = signs of x[rows, columns], both zeros counting as +1.
  // Returns -1, or the flat index of the first NaN; the content of `bits` is then unspecified.
  std::int64_t (*pack_signs)(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits);

  // weights[r, c] = +-scale[r], the sign taken from the bits.
  void (*unpack_weights)(const std::uint8_t* bits, const float* scale, std::int64_t rows, std::int64_t columns,
                         float* weights);

  // out[i, j] = sum over k of a[i, k] * b[j, k], for m rows of a and n rows of b of k signs each.
  // Strides are in bytes from row to row. The padding bits of both operands must be zero.
  void (*w1a1_matmul)(const std::uint8_t* a, std::int64_t a_stride, const std::uint8_t* b, std::int64_t b_stride,
                      std::int64_t m, std::int64_t n, std::int64_t k, std::int32_t* out);
};

}  // namespace proxconnect
