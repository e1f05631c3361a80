// The W1A8 micro-kernel of AVX-512 multiplies signs as bytes by inputs as bytes, four products to a lane (vpdpbusd).

#include <immintrin.h>

#include <utility>

#include "sets/avx512/unpack_signs.h"
#include "sets/avx512/w1a8_lut.h"
#include "sets/common/kernels.h"
#include "sets/common/w1a8_conv_macro_kernel.h"
#include "sets/common/w1a8_lut_macro_kernel.h"
#include "sets/common/w1a8_macro_kernel.h"

namespace proxconnect::avx512 {
namespace {

__m512i broadcast(const std::uint8_t* inputs) {
  std::int32_t value;
  std::memcpy(&value, inputs, sizeof value);
  return _mm512_set1_epi32(value);
}

// Addresses of the rows of a micro-kernel: each is one of a few pointers plus what an instruction's address can add to
// it. A pointer to each row would not fit the registers.
template <int rows>
struct RowPointers {
  static constexpr int rows_of_pointer = 3;
  static constexpr int count = (rows + rows_of_pointer - 1) / rows_of_pointer;
  const std::uint8_t* first[count];
  std::int64_t stride;

  RowPointers(const std::uint8_t* q, std::int64_t row_stride) : stride(row_stride) {
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) first[i] = q + i * rows_of_pointer * stride;
  }

  const std::uint8_t* operator[](int row) const {
    return first[row / rows_of_pointer] + row % rows_of_pointer * stride;
  }

  void advance(std::int64_t bytes) {
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) first[i] += bytes;
    hide();
  }

  // Hides from gcc 12 that pointers are sums of others. It would keep a pointer to each row after all.
  void hide() {
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) asm("" : "+r"(first[i]));
    asm("" : "+r"(stride));
  }
};

template <int rows, int panels>
void micro_kernel(const std::uint8_t* q, std::int64_t stride, const Runs& runs, const std::int8_t* weights,
                  bool add, Integers* sums) {
  constexpr int unrolled = 4;
  __m512i sum[rows][panels];
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
    for (int p = 0; p < panels; ++p) {
      sum[r][p] = add ? _mm512_load_si512(sums + r * panels + p) : _mm512_setzero_si512();
    }
  }
  for (std::int64_t run = 0; run < runs.count; ++run) {
    RowPointers<rows> from(q + runs.offsets[run], stride);
    const auto multiply = [&](int i) __attribute__((always_inline)) {
      __m512i signs[panels];
#pragma GCC unroll 2
      for (int p = 0; p < panels; ++p) signs[p] = _mm512_load_si512(weights + (i * panels + p) * step_bytes);
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) {
        const __m512i inputs = broadcast(from[r] + i * k_step);
#pragma GCC unroll 2
        for (int p = 0; p < panels; ++p) sum[r][p] = _mm512_dpbusd_epi32(sum[r][p], inputs, signs[p]);
      }
    };
    std::int64_t left = runs.k_steps;
    for (; left >= unrolled; left -= unrolled) {
#pragma GCC unroll 4
      for (int i = 0; i < unrolled; ++i) {
        multiply(i);
        from.hide();
      }
      from.advance(unrolled * k_step);
      weights += unrolled * panels * step_bytes;
    }
    for (; left > 0; --left) {
      multiply(0);
      from.advance(k_step);
      weights += panels * step_bytes;
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
    for (int p = 0; p < panels; ++p) _mm512_store_si512(sums + r * panels + p, sum[r][p]);
  }
}

constexpr W1A8MicroKernels<12, 2> micro_kernels =
    []<int... index>(std::integer_sequence<int, index...>) -> W1A8MicroKernels<12, 2> {
  return {unpack_signs, {{micro_kernel<index + 1, 1>...}, {micro_kernel<index + 1, 2>...}}};
}(std::make_integer_sequence<int, 12>());

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) {
  // Up to eight rows do not repay the unpacking of signs. Inputs of up to 7 bits are faster looked up in any case.
  constexpr std::int64_t max_lut_rows = 8;
  const bool narrow = product.greatest <= max_in_a_byte && product.b.planes == 1;
  if (product.b.k <= max_lut_inputs && (rows.end - rows.begin <= max_lut_rows || narrow)) {
    return w1a8_lut(product, rows, panels);
  }
  return w1a8_macro_kernel(micro_kernels, product, rows, panels);
}

void w1a8_conv(const W1A8Image& image, Range lines, Range panels) {
  w1a8_conv_macro_kernel(micro_kernels, image, lines, panels);
}

}  // namespace proxconnect::avx512
