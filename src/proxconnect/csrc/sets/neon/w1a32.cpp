// The W1A32 micro-kernel of NEON splits a table in two: the signed sums of three inputs fill two registers, those of
// the other two one. TBL looks up four outputs, byte by byte.

#include <arm_neon.h>

#include "sets/common/kernels.h"
#include "sets/common/w1a32_gemv.h"

namespace proxconnect::neon {
namespace {

constexpr int split_floats = 12;  // of a table in two parts
constexpr int quarter_width = 4;  // outputs in a register
constexpr int quarters = 4;       // of a panel

// Returns the sums of +-x[0] +- x[1]; the sign of x[i] is bit i of the lane's number.
float32x4_t signed_sums(const float* x) {
  const float first[4] = {-x[0], x[0], -x[0], x[0]};
  const float second[4] = {-x[1], -x[1], x[1], x[1]};
  return vaddq_f32(vld1q_f32(first), vld1q_f32(second));
}

void make_table(const float* x, float* table) {
  const float32x4_t first_two = signed_sums(x);
  vst1q_f32(table, vaddq_f32(first_two, vdupq_n_f32(-x[2])));
  vst1q_f32(table + 4, vaddq_f32(first_two, vdupq_n_f32(x[2])));
  vst1q_f32(table + 8, signed_sums(x + 3));
}

uint8x16_t bytes(const float* entries) { return vreinterpretq_u8_f32(vld1q_f32(entries)); }

// Returns the places of the bytes of table entries, whose numbers are the low bits of each lane.
uint8x16_t bytes_of_entries(uint32x4_t bits, std::uint32_t max_entry) {
  const uint32x4_t entry = vandq_u32(bits, vdupq_n_u32(max_entry));
  return vreinterpretq_u8_u32(vmlaq_n_u32(vdupq_n_u32(0x03020100), entry, 0x04040404));
}

// The places in both parts of a table that four outputs of a panel choose.
struct Chosen {
  uint8x16_t three;
  uint8x16_t two;

  Chosen(const std::uint32_t* panel, const TableIndex& index) {
    const int32x4_t down = vdupq_n_s32(-index.shift);
    const int32x4_t up = vdupq_n_s32(static_cast<int>(word_bits) - index.shift);  // by 32: nothing is left
    const uint32x4_t bits = vorrq_u32(vshlq_u32(vld1q_u32(panel + index.word * panel_width), down),
                                      vshlq_u32(vld1q_u32(panel + index.next * panel_width), up));
    three = bytes_of_entries(bits, 7);
    two = bytes_of_entries(vshrq_n_u32(bits, 3), 3);
  }
};

template <int rows>
void micro_kernel(const TableRun& run, const std::uint32_t* panel, Floats* sums) {
  const float* table = run.tables;
  for (std::int64_t t = 0; t < run.count;) {
    float32x4_t sum[rows][quarters];
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int part = 0; part < quarters; ++part) sum[r][part] = vdupq_n_f32(0.0f);
    }
    for (const std::int64_t end = run.block_end(t); t < end; ++t) {
      const TableIndex index = run.index(t);
      const Chosen chosen[quarters] = {{panel, index},
                                       {panel + quarter_width, index},
                                       {panel + 2 * quarter_width, index},
                                       {panel + 3 * quarter_width, index}};
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r, table += split_floats) {
        const uint8x16x2_t threes = {bytes(table), bytes(table + 4)};
        const uint8x16_t twos = bytes(table + 8);
#pragma GCC unroll 4
        for (int part = 0; part < quarters; ++part) {
          const float32x4_t table_inputs = vaddq_f32(vreinterpretq_f32_u8(vqtbl2q_u8(threes, chosen[part].three)),
                                             vreinterpretq_f32_u8(vqtbl1q_u8(twos, chosen[part].two)));
          sum[r][part] = vaddq_f32(sum[r][part], table_inputs);
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      auto* out = reinterpret_cast<float*>(sums + r);
#pragma GCC unroll 4
      for (int part = 0; part < quarters; ++part, out += quarter_width) {
        vst1q_f32(out, vaddq_f32(vld1q_f32(out), sum[r][part]));
      }
    }
  }
}

template <int rows>
constexpr GemvMicroKernels kernels_for{rows, 1, micro_kernel<rows>, micro_kernel<rows>};

constexpr GemvMicroKernels micro_kernels[] = {kernels_for<4>, kernels_for<2>, kernels_for<1>};

}  // namespace

void w1a32(const W1A32& product, Range rows, Range panels) {
  constexpr std::int64_t min_gemm_rows = 4;
  w1a32_gemm_and_gemv<split_floats>(micro_kernels, make_table, min_gemm_rows, product, rows, panels);
}

}  // namespace proxconnect::neon
