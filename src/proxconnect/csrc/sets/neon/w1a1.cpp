// The W1A1 micro-kernel of NEON counts the differing bits of bytes (CNT) and adds the counts up in bytes for as long as
// they fit. A carry-save adder, as AVX-512 has it, would take more instructions than it saves.

#include <arm_neon.h>

#include "sets/common/accumulate.h"
#include "sets/common/kernels.h"
#include "sets/common/w1a1_macro_kernel.h"

namespace proxconnect::neon {
namespace {

constexpr int quarter_width = 4;         // outputs in a register
constexpr int quarters = 4;              // of a panel
constexpr std::int64_t words_that_fit = 31;  // a byte: 31 * 8 < 2^8

struct MicroKernel {
  static constexpr int max_rows = 4;
  static constexpr int max_panels = 1;

  template <int rows, int>
  [[gnu::always_inline]] static void sums(const std::uint8_t* a, const SignLines& lines, const std::uint32_t* panel,
                                          std::int64_t, const Integers* start, Integers* sums) {
    uint32x4_t differing[rows][quarters];
    uint8x16_t bytes[rows][quarters];
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int part = 0; part < quarters; ++part) {
        differing[r][part] = vdupq_n_u32(0);
        bytes[r][part] = vdupq_n_u8(0);
      }
    }
    const auto widen = [&]() __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
        for (int part = 0; part < quarters; ++part) {
          differing[r][part] = vpadalq_u16(differing[r][part], vpaddlq_u8(bytes[r][part]));
          bytes[r][part] = vdupq_n_u8(0);
        }
      }
    };

    const auto add = [&](std::int64_t run, std::int64_t first, std::int64_t words) __attribute__((always_inline)) {
      const std::uint8_t* at = a + lines.offsets[run];
      for (std::int64_t w = first; w < first + words; ++w, panel += panel_width) {
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) {
          const uint32x4_t signs = vdupq_n_u32(word_at(at + r * lines.row_stride, w));
#pragma GCC unroll 4
          for (int part = 0; part < quarters; ++part) {
            const uint32x4_t difference = veorq_u32(vld1q_u32(panel + part * quarter_width), signs);
            bytes[r][part] = vaddq_u8(bytes[r][part], vcntq_u8(vreinterpretq_u8_u32(difference)));
          }
        }
      }
    };
    accumulate<words_that_fit>(lines.runs, lines.run_words, add, widen);

#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      const auto* from = reinterpret_cast<const std::int32_t*>(start + r);
      auto* to = reinterpret_cast<std::int32_t*>(sums + r);
#pragma GCC unroll 4
      for (int part = 0; part < quarters; ++part) {
        // Equal signs add one, differing signs take one away.
        const int32x4_t twice = vreinterpretq_s32_u32(vshlq_n_u32(differing[r][part], 1));
        vst1q_s32(to + part * quarter_width, vsubq_s32(vld1q_s32(from + part * quarter_width), twice));
      }
    }
  }
};

}  // namespace

void w1a1_sums(const W1A1Part<SumsOutput>& part, Range panels) { w1a1_macro_kernel<MicroKernel>(part, panels); }
void w1a1_affine(const W1A1Part<AffineOutput>& part, Range panels) { w1a1_macro_kernel<MicroKernel>(part, panels); }
void w1a1_signs(const W1A1Part<SignsOutput>& part, Range panels) { w1a1_macro_kernel<MicroKernel>(part, panels); }
void w1a1_chain(const W1A1Part<ChainOutput>& part, Range panels) { w1a1_macro_kernel<MicroKernel>(part, panels); }

}  // namespace proxconnect::neon
