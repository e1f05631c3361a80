// The loop around a W1A8 tile: quantizes some rows, then passes all panels by them.
#pragma once

#include <cmath>
#include <memory>

#include "shared/outputs.h"
#include "shared/quantize.h"

namespace proxconnect {
namespace {

// sums[p][r][j] = sum of the inputs q[r] whose weight bit in panel p, output j, is set. Rows are q_stride apart,
// panels panel_stride; both begin at a word.
using W1A8Tile = void (*)(const std::uint32_t* q, std::int64_t q_stride, const std::uint32_t* panel,
                          std::int64_t panel_stride, std::int64_t words, Integers* sums);

// The tiles for some number of rows: for several panels at a time, and for one.
struct W1A8Tiles {
  int panels;
  W1A8Tile several;
  W1A8Tile one;
};
constexpr int w1a8_most_panels = 2;

// Rows quantized together, with the sums of their groups.
struct QuantizedRows {
  std::int64_t words;
  std::int64_t group_words;
  std::int64_t groups;
  std::unique_ptr<std::uint32_t[]> q;
  std::unique_ptr<std::int32_t[]> totals;
  std::unique_ptr<float[]> steps;

  QuantizedRows(std::int64_t rows, std::int64_t k, std::int64_t group)
      : words(words_of(k)),
        group_words(group / word_bits),
        groups(words > group_words ? (words + group_words - 1) / group_words : 1),
        q(new std::uint32_t[static_cast<std::size_t>(rows * stride())]),
        totals(new std::int32_t[static_cast<std::size_t>(rows * groups)]),
        steps(new float[static_cast<std::size_t>(rows)]) {}

  std::int64_t stride() const { return words * 8; }
  std::int64_t words_in(std::int64_t g) const {
    const std::int64_t left = words - g * group_words;
    return left < group_words ? left : group_words;
  }

  // False if the values are not finite.
  bool read(const float* x, std::int64_t k, int row) {
    steps[row] = quantize_row(x, k, q.get() + row * stride());
    for (std::int64_t g = 0; g < groups; ++g) {
      totals[row * groups + g] = sum_of_bytes(q.get() + row * stride() + g * group_words * 8, words_in(g) * 8);
    }
    return !std::isnan(steps[row]);
  }
};

template <int most>
bool w1a8_loop(const W1A8Tiles (&tiles)[most], const W1A8& product, Range rows, Range panels) {
  const Panels& b = product.b;
  QuantizedRows x(rows.end - rows.begin < most ? rows.end - rows.begin : most, b.k, product.group);
  Integers sums[w1a8_most_panels * most];
  Floats sums_of_groups[w1a8_most_panels * most];
  bool finite = true;

  for (std::int64_t row = rows.begin; row < rows.end; row += most) {
    const int count = static_cast<int>(rows.end - row < most ? rows.end - row : most);
    for (int r = 0; r < count; ++r) finite &= x.read(product.x.values + (row + r) * product.x.stride, b.k, r);
    const W1A8Tiles& tile = tiles[count - 1];

    for (std::int64_t panel = panels.begin; panel < panels.end;) {
      const int together = panels.end - panel < tile.panels ? 1 : tile.panels;
      for (std::int64_t g = 0; g < x.groups; ++g) {
        const std::int64_t word = g * x.group_words;
        (together == 1 ? tile.one : tile.several)(x.q.get() + word * 8, x.stride(),
                                                  b.panel(panel) + word * panel_width, b.panel_words(),
                                                  x.words_in(g), sums);
        for (int p = 0; p < together; ++p) {
          const Place at(row, panel + p, b.n);
          const auto scale = load<Floats>(product.output.scale + g * b.n + at.j, at.width);
          const AffineWriter write(product.output, at);
          for (int r = 0; r < count; ++r) {
            // Signs times inputs: the inputs with the sign set, less all the others.
            const Integers& set = sums[p * count + r];
            const Integers signed_sums = set - (x.totals[r * x.groups + g] - set);
            Floats& y = sums_of_groups[p * count + r];
            y = g == 0 ? to_floats(signed_sums) * scale : y + to_floats(signed_sums) * scale;
            if (g + 1 == x.groups) write.finish(r, y * x.steps[r]);
          }
        }
      }
      panel += together;
    }
  }
  return finite;
}

}  // namespace
}  // namespace proxconnect
