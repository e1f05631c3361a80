// Weight bits stay where they are in their bytes: plane b, masked to {0, 2^b}, times the inputs of that plane by
// vpdpbusd. From the lowest plane up, doubling the sums between planes makes every weight 2^7 in the end.

#include <immintrin.h>

#include "avx512/kernels.h"
#include "shared/w1a8_loop.h"

namespace proxconnect::avx512 {
namespace {

constexpr int most_rows = 12;

// Words taken together: their inputs stay in the first-level cache for eight planes, and 2^7 times their sums in
// 32 bits.
constexpr std::int64_t chunk = 32;

// sum += weights (unsigned bytes) times four inputs. As an intrinsic, gcc 12 copies the sum at every step.
void multiply_add(__m512i& sum, __m512i weights, __m512i inputs) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(inputs));
}

__m512i broadcast(std::uint32_t value) { return _mm512_set1_epi32(static_cast<int>(value)); }
__m512i plane_mask(int plane) { return _mm512_set1_epi8(static_cast<char>(1 << plane)); }

// Many rows: the masked weights serve all of them.
template <int rows, int panels>
void tile(const std::uint32_t* q, std::int64_t q_stride, const std::uint32_t* panel, std::int64_t panel_stride,
          std::int64_t words, Integers* sums) {
  __m512i sum[rows][panels];
  for (std::int64_t first = 0; first == 0 || first < words; first += chunk) {
    const std::int64_t last = first + chunk < words ? first + chunk : words;
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
      for (int p = 0; p < panels; ++p) sum[r][p] = _mm512_setzero_si512();
    }
    for (int plane = 0; plane < 8; ++plane) {
      const __m512i mask = plane_mask(plane);
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
        for (int p = 0; p < panels; ++p) sum[r][p] = _mm512_add_epi32(sum[r][p], sum[r][p]);
      }
#pragma GCC unroll 4
      for (std::int64_t word = first; word < last; ++word) {
        __m512i weights[panels];
#pragma GCC unroll 2
        for (int p = 0; p < panels; ++p) {
          weights[p] = _mm512_and_si512(mask, _mm512_loadu_si512(panel + p * panel_stride + word * panel_width));
        }
#pragma GCC unroll 12
        for (int r = 0; r < rows; ++r) {
          const __m512i inputs = broadcast(q[r * q_stride + word * 8 + plane]);
#pragma GCC unroll 2
          for (int p = 0; p < panels; ++p) multiply_add(sum[r][p], weights[p], inputs);
        }
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
      for (int p = 0; p < panels; ++p) {
        Integers* out = sums + p * rows + r;
        sum[r][p] = _mm512_srai_epi32(sum[r][p], 7);
        if (first > 0) sum[r][p] = _mm512_add_epi32(sum[r][p], _mm512_load_si512(out));
        _mm512_store_si512(out, sum[r][p]);
      }
    }
  }
}

// Few rows: a sum for every plane, so that weights are read once and their reading sets the pace.
template <int rows>
void stream(const std::uint32_t* q, std::int64_t q_stride, const std::uint32_t* panel, std::int64_t,
            std::int64_t words, Integers* sums) {
  constexpr std::int64_t sums_hold = std::int64_t{1} << 15;  // 2^15 words * 4 inputs * 127 * 2^7 < 2^31
  __m512i total[rows];
#pragma GCC unroll 2
  for (int r = 0; r < rows; ++r) total[r] = _mm512_setzero_si512();
  for (std::int64_t first = 0; first < words; first += sums_hold) {
    const std::int64_t last = first + sums_hold < words ? first + sums_hold : words;
    __m512i sum[rows][8];
#pragma GCC unroll 2
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
      for (int plane = 0; plane < 8; ++plane) sum[r][plane] = _mm512_setzero_si512();
    }
    for (std::int64_t word = first; word < last; ++word) {
      const __m512i weights = _mm512_loadu_si512(panel + word * panel_width);
#pragma GCC unroll 8
      for (int plane = 0; plane < 8; ++plane) {
        const __m512i masked = _mm512_and_si512(weights, plane_mask(plane));
#pragma GCC unroll 2
        for (int r = 0; r < rows; ++r) {
          multiply_add(sum[r][plane], masked, broadcast(q[r * q_stride + word * 8 + plane]));
        }
      }
    }
#pragma GCC unroll 2
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
      for (int plane = 0; plane < 8; ++plane) {
        total[r] = _mm512_add_epi32(total[r], _mm512_srai_epi32(sum[r][plane], static_cast<unsigned>(plane)));
      }
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < rows; ++r) _mm512_store_si512(sums + r, total[r]);
}

template <int rows>
constexpr W1A8Tiles tiled{2, tile<rows, 2>, tile<rows, 1>};

template <int rows>
constexpr W1A8Tiles streamed{1, stream<rows>, stream<rows>};

constexpr W1A8Tiles tiles[most_rows] = {streamed<1>, streamed<2>, tiled<3>, tiled<4>,  tiled<5>,  tiled<6>,
                                        tiled<7>,    tiled<8>,    tiled<9>, tiled<10>, tiled<11>, tiled<12>};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) { return w1a8_loop(tiles, product, rows, panels); }

}  // namespace proxconnect::avx512
