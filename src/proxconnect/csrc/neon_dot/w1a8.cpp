// Bit planes as in avx512/w1a8.cpp, with masks for weights: as signed bytes they are -1 where the weight is set.

#include <arm_neon.h>

#include "neon_dot/kernels.h"
#include "shared/w1a8_loop.h"

namespace proxconnect::neon_dot {
namespace {

constexpr int most_rows = 4;
constexpr int quarter_width = 4;  // outputs in a register
constexpr int quarters = 4;       // of a panel

// less[r][part] -= the inputs of one plane whose weights are set; `inputs` has the plane's in its lane.
template <int lane, int rows>
void add_plane(const std::uint32_t* words, unsigned plane, const int8x16_t (&inputs)[rows],
               int32x4_t (&less)[rows][quarters]) {
  const uint8x16_t mask = vdupq_n_u8(static_cast<std::uint8_t>(1u << plane));
#pragma GCC unroll 4
  for (int part = 0; part < quarters; ++part) {
    const uint8x16_t weights = vreinterpretq_u8_u32(vld1q_u32(words + part * quarter_width));
    const int8x16_t set = vreinterpretq_s8_u8(vtstq_u8(weights, mask));
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) less[r][part] = vdotq_laneq_s32(less[r][part], set, inputs[r], lane);
  }
}

template <int rows>
void tile(const std::uint32_t* q, std::int64_t q_stride, const std::uint32_t* panel, std::int64_t,
          std::int64_t words, Integers* sums) {
  int32x4_t less[rows][quarters];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int part = 0; part < quarters; ++part) less[r][part] = vdupq_n_s32(0);
  }
  for (std::int64_t word = 0; word < words; ++word, panel += panel_width) {
    for (unsigned plane = 0; plane < 8; plane += 4) {
      int8x16_t inputs[rows];
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) inputs[r] = vreinterpretq_s8_u32(vld1q_u32(q + r * q_stride + word * 8 + plane));
      add_plane<0>(panel, plane, inputs, less);
      add_plane<1>(panel, plane + 1, inputs, less);
      add_plane<2>(panel, plane + 2, inputs, less);
      add_plane<3>(panel, plane + 3, inputs, less);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
    auto* out = reinterpret_cast<std::int32_t*>(sums + r);
#pragma GCC unroll 4
    for (int part = 0; part < quarters; ++part) vst1q_s32(out + part * quarter_width, vnegq_s32(less[r][part]));
  }
}

template <int rows>
constexpr W1A8Tiles with{1, tile<rows>, tile<rows>};

constexpr W1A8Tiles tiles[most_rows] = {with<1>, with<2>, with<3>, with<4>};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) { return w1a8_loop(tiles, product, rows, panels); }

}  // namespace proxconnect::neon_dot
