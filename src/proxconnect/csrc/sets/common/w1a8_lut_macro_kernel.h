// The loop around a W1A8 look-up: signs are indices into tables of what a few inputs add up to. An entry counts from
// the least of its table: E = sum of |q| over the inputs whose weight has their sign; a sum of signs times inputs is
// 2 E less the sum of all |q|.
//
// A set provides a Tables: Tables::of_word, the bytes that the tables of a word's 32 inputs take; an instance of it
// builds those of some words, `between` bytes apart, and returns the sum of their |q|; and
// Tables::tiles[panels - 1][rows - 1].
#pragma once

#include <type_traits>

#include "sets/common/k_blocks.h"
#include "sets/common/quantize.h"
#include "sets/common/w1a8_micro_kernel.h"

namespace proxconnect {
namespace {

// Inputs to a row beyond which its tables no longer stay in a cache.
constexpr std::int64_t most_looked_up = std::int64_t{1} << 16;

// sums[r][p] = starts[r] + 2 E for some panels, `panel_stride` words apart; tables: [words][rows].
using LookUpTile = void (*)(const std::uint8_t* tables, const std::uint32_t* panel, std::int64_t panel_stride,
                            std::int64_t words, const std::int32_t* starts, Integers* sums);

template <typename Tables>
bool look_up(const W1A8& product, Range rows, Range panels) {
  constexpr int most_panels = std::extent_v<decltype(Tables::tiles), 0>;
  constexpr int most_rows = std::extent_v<decltype(Tables::tiles), 1>;
  const Tables build;
  const Panels& b = product.b;
  const std::int64_t words = words_of(b.k);
  const Pieces groups(b.k, product.group, words);
  const Parts tiles(rows.end - rows.begin, most_rows);
  auto* const q = scratch<Scratch::inputs, std::uint8_t>(words * word_bits);
  auto* const lines = scratch<Scratch::weights, Integers>(words * tiles.greatest() * Tables::of_word / 64);
  auto* const tables = reinterpret_cast<std::uint8_t*>(lines);
  const std::int64_t group_count = words > 0 ? (words - 1) / groups.greatest() + 1 : 1;
  auto* const starts = scratch<Scratch::starts, std::int32_t>(group_count * most_rows);
  float steps[most_rows];
  Integers sums[most_rows * most_panels];
  Floats y[most_rows * most_panels];
  bool finite = true;

  for (std::int64_t i = 0; i < tiles.count(); ++i) {
    const std::int64_t first_row = rows.begin + tiles[i].begin;
    const int count = static_cast<int>(tiles[i].end - tiles[i].begin);
    const std::int64_t between = count * Tables::of_word;
    for (int r = 0; r < count; ++r) {
      const float* x = product.x.values + (first_row + r) * product.x.stride;
      const Step by(greatest_magnitude(x, b.k), product.greatest);
      finite &= by.finite;
      steps[r] = by.step;
      quantize(x, b.k, by, 0, words * word_bits, q);
      for (Piece group = groups.first();; group = groups.after(group)) {
        std::uint8_t* const to = tables + group.word * between + r * Tables::of_word;
        starts[group.group * most_rows + r] = -build(q + group.word * word_bits, group.words, between, to);
        if (group.is_last) break;
      }
    }

    for (std::int64_t panel = panels.begin; panel < panels.end;) {
      const int together = panels.end - panel < most_panels ? 1 : most_panels;
      for (Piece group = groups.first();; group = groups.after(group)) {
        Tables::tiles[together - 1][count - 1](tables + group.word * between, b.panel(panel) + group.word * panel_width,
                                               b.panel_words(), group.words, starts + group.group * most_rows, sums);
        for (int p = 0; p < together; ++p) {
          const GroupWriter write(product.output, Place(first_row, panel + p, b.n), group);
          for (int r = 0; r < count; ++r) write(r, sums[r * together + p], steps[r], y[r * together + p]);
        }
        if (group.is_last) break;
      }
      panel += together;
    }
  }
  return finite;
}

}  // namespace
}  // namespace proxconnect
