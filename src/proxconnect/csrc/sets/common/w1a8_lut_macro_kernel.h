// The macro-kernel of W1A8 by look-up tables (LUT): a few signs of a weight are an index into a table of what as many
// inputs add up to. An entry counts from the least of its table: E is the sum of |q| over the inputs whose weight has
// their sign. A sum of signs times inputs is 2 E less the sum of all |q|.
//
// A set provides a Tables:
// - Tables::of_word, the bytes that the tables of a word's 32 inputs take;
// - an instance of it, called, makes the tables of some words, `between` bytes apart, and returns the sum of their |q|;
// - Tables::micro_kernels[panels - 1][rows - 1].
#pragma once

#include <type_traits>

#include "sets/common/k_blocks.h"
#include "sets/common/quantize.h"
#include "sets/common/scratch.h"
#include "sets/common/w1a8_micro_kernel.h"

namespace proxconnect {
namespace {

// The tables of a row with more inputs no longer stay in a cache.
constexpr std::int64_t max_lut_inputs = std::int64_t{1} << 16;

// Asks for the signs that a micro-kernel will read while memory takes to answer. Processors do so on their own, but not
// beyond a page, and a panel is often a page. Panels follow each other, so they are those of the next panel.
inline void prefetch_signs(const std::uint32_t* panel) {
  constexpr int words_ahead = 24;
  __builtin_prefetch(panel + words_ahead * panel_width);
}

// Computes sums[g][r][p] = starts[g][r] + 2 E for each group of `group_words` of all words (the last group may have
// fewer, and is empty where there are none), and for some panels, `panel_stride` words apart, with tables [words][rows].
using LutMicroKernel = void (*)(const std::uint8_t* tables, const std::uint32_t* panel, std::int64_t panel_stride,
                                std::int64_t words, std::int64_t group_words, const std::int32_t* starts,
                                Integers* sums);

// The sums of groups of inputs for a row and a panel, `stride` apart. Of ternary weights these are sums of the first plane
// of signs, and those of the second lie `other` behind them; 0 stands for none.
struct GroupSums {
  const Integers* first;
  std::int64_t stride;
  std::int64_t other;

  // Returns the sums of a group for the outputs from `output` on, as many as `Lanes` holds.
  template <typename Lanes>
  Lanes at(std::int64_t group, int output) const {
    const auto load_from = [&](const Integers* sums) {
      Lanes lanes;
      std::memcpy(&lanes, reinterpret_cast<const char*>(sums) + output * 4, sizeof lanes);
      return lanes;
    };
    const Integers* const sums = first + group * stride;
    const Lanes sum = load_from(sums);
    return other == 0 ? sum : half_sum(sum, load_from(sums + other));
  }
};

// Adds up the sums of groups, each times its scales, for a last panel that is not whole.
inline Floats scaled_sum(const PanelScales& scales, std::int64_t groups, const GroupSums& sums) {
  Floats all = to_floats(sums.at<Integers>(0, 0)) * scales[0];
  for (std::int64_t g = 1; g < groups; ++g) all += to_floats(sums.at<Integers>(g, 0)) * scales[g];
  return all;
}

// Does that for the outputs from output j of a whole panel on, as many as a register holds.
inline RegisterFloats scaled_part(const PanelScales& scales, std::int64_t groups, const GroupSums& sums, int j) {
  const auto scaled = [&](std::int64_t g) {
    return __builtin_convertvector(sums.at<Register>(g, j), RegisterFloats) * scales.from(g, j);
  };
  RegisterFloats y = scaled(0);
  for (std::int64_t g = 1; g < groups; ++g) y += scaled(g);
  return y;
}

// Returns whether every row is finite.
template <typename Tables>
bool w1a8_lut_macro_kernel(const W1A8& product, Range rows, Range panels) {
  constexpr int max_panels = std::extent_v<decltype(Tables::micro_kernels), 0>;
  constexpr int max_rows = std::extent_v<decltype(Tables::micro_kernels), 1>;
  const Tables make_tables;
  const Panels& b = product.b;
  const std::int64_t words = words_of(b.k);
  const KBlocks groups(b.k, product.group, words);
  const Parts tiles(rows.end - rows.begin, max_rows);
  auto* const q = scratch<Scratch::inputs, std::uint8_t>(words * word_bits);
  auto* const lines = scratch<Scratch::weights, Integers>(words * tiles.largest() * Tables::of_word / 64);
  auto* const tables = reinterpret_cast<std::uint8_t*>(lines);
  const std::int64_t group_count = groups_of(b.k, product.group);
  auto* const starts = scratch<Scratch::starts, std::int32_t>(group_count * max_rows);
  float steps[max_rows];
  auto* const sums = scratch<Scratch::sums, Integers>(group_count * max_rows * (max_panels > 2 ? max_panels : 2));
  bool finite = true;
  const int planes = static_cast<int>(b.planes);
  const int panels_at_once = max_panels > planes ? max_panels / planes : 1;
  const int planes_at_once = own::min(planes, max_panels);

  for (std::int64_t i = 0; i < tiles.count(); ++i) {
    const std::int64_t first_row = rows.begin + tiles[i].begin;
    const int count = static_cast<int>(tiles[i].end - tiles[i].begin);
    const std::int64_t between = count * Tables::of_word;
    for (int r = 0; r < count; ++r) {
      const float* x = product.x.values + (first_row + r) * product.x.stride;
      const QuantizationStep step(greatest_magnitude(x, b.k), product.greatest);
      finite &= step.finite;
      steps[r] = step.step;
      quantize(x, b.k, step, 0, words * word_bits, q);
      for (KBlock group = groups.first();; group = groups.after(group)) {
        std::uint8_t* const to = tables + group.word * between + r * Tables::of_word;
        starts[group.group * count + r] = -make_tables(q + group.word * word_bits, group.words, between, to);
        if (group.is_last) break;
      }
    }

    for (std::int64_t panel = panels.begin; panel < panels.end;) {
      const int width = panels.end - panel < panels_at_once ? 1 : panels_at_once;
      const int kernel_panels = width * planes_at_once;
      PanelScales(product, Place(first_row, panel, b.n)).prefetch(width, group_count);
      for (int plane = 0; plane < planes; plane += planes_at_once) {
        Tables::micro_kernels[kernel_panels - 1][count - 1](tables, b.panel(panel) + plane * b.panel_words(),
                                                            b.panel_words(), words, groups.largest(), starts,
                                                            sums + plane * group_count * count);
      }
      for (int p = 0; p < width; ++p) {
        const Place at(first_row, panel + p, b.n);
        const PanelScales scales(product, at);
        const ScaledWriter write(product.output, at);
        const std::int64_t other = planes == 1 ? 0 : planes_at_once > 1 ? 1 : group_count * count;
        for (int r = 0; r < count; ++r) {
          const Integers* const first = sums + r * kernel_panels + p * planes_at_once;
          const GroupSums of_row{first, static_cast<std::int64_t>(count) * kernel_panels, other};
          if (write.whole()) {
            write.finish_parts(r, [&](int j) { return scaled_part(scales, group_count, of_row, j) * steps[r]; });
          } else {
            write.finish(r, scaled_sum(scales, group_count, of_row) * steps[r]);
          }
        }
      }
      panel += width;
    }
  }
  return finite;
}

}  // namespace
}  // namespace proxconnect
