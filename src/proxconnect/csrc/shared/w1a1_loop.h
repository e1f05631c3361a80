// The loop around a W1A1 tile.
#pragma once

#include "shared/outputs.h"

namespace proxconnect {
namespace {

// sums[r][j] = sum over k of a[r, k] * panel[j, k], for as many rows as the tile is for.
using W1A1Tile = void (*)(const std::uint8_t* a, std::int64_t stride, const std::uint32_t* panel, std::int64_t k,
                          Integers* sums);

inline Integers wrap_to_8_bits(const Integers& sums) { return sums << 24 >> 24; }

// tiles[r - 1] is the tile for r rows.
template <int most, typename Output>
void w1a1_loop(const W1A1Tile (&tiles)[most], const W1A1<Output>& product, Range rows, Range panels) {
  const SignRows& a = product.a;
  const Panels& b = product.b;
  // As many panels at a time as stay in the first-level cache while all rows pass by.
  constexpr std::int64_t cache = 24 * 1024 / sizeof(std::uint32_t);
  const std::int64_t fitting = cache / (b.panel_words() + 1);
  const std::int64_t together = fitting < 2 ? 2 : fitting;
  Integers sums[most];

  for (std::int64_t first = panels.begin; first < panels.end; first += together) {
    const std::int64_t last = first + together < panels.end ? first + together : panels.end;
    for (std::int64_t row = rows.begin; row < rows.end; row += most) {
      const int count = static_cast<int>(rows.end - row < most ? rows.end - row : most);
      for (std::int64_t panel = first; panel < last; ++panel) {
        tiles[count - 1](a.bits + row * a.stride, a.stride, b.panel(panel), b.k, sums);
        const auto write = writer(product.output, Place(row, panel, b.n));
        for (int r = 0; r < count; ++r) write(r, product.wrap ? wrap_to_8_bits(sums[r]) : sums[r]);
      }
    }
  }
}

}  // namespace
}  // namespace proxconnect
