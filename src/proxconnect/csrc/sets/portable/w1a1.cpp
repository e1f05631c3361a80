// The W1A1 micro-kernel of the portable set.

#include "sets/common/kernels.h"
#include "sets/common/w1a1_macro_kernel.h"

namespace proxconnect::portable {
namespace {

struct MicroKernel {
  static constexpr int max_rows = 1;
  static constexpr int max_panels = 1;

  template <int, int>
  static void sums(const std::uint8_t* a, const SignLines& lines, const std::uint32_t* panel, std::int64_t,
                   const Integers* start, Integers* sums) {
    std::int32_t differing[panel_width] = {};
    for (std::int64_t run = 0; run < lines.runs; ++run) {
      for (std::int64_t w = 0; w < lines.run_words; ++w, panel += panel_width) {
        const std::uint32_t word = word_at(a + lines.offsets[run], w);
        for (int j = 0; j < panel_width; ++j) differing[j] += own::popcount(word ^ panel[j]);
      }
    }
    // Equal signs add one, differing signs take one away; 32 bits might not hold twice the latter.
    for (int j = 0; j < panel_width; ++j) (*sums)[j] = (*start)[j] - differing[j] - differing[j];
  }
};

}  // namespace

void w1a1_sums(const W1A1Part<SumsOutput>& part, Range panels) { w1a1_macro_kernel<MicroKernel>(part, panels); }
void w1a1_affine(const W1A1Part<AffineOutput>& part, Range panels) { w1a1_macro_kernel<MicroKernel>(part, panels); }
void w1a1_signs(const W1A1Part<SignsOutput>& part, Range panels) { w1a1_macro_kernel<MicroKernel>(part, panels); }
void w1a1_chain(const W1A1Part<ChainOutput>& part, Range panels) { w1a1_macro_kernel<MicroKernel>(part, panels); }

}  // namespace proxconnect::portable
