// The loop around a W1A32 tile: makes the tables of some inputs of some rows, then passes all panels by them.
#pragma once

#include <cstring>
#include <memory>

#include "shared/outputs.h"

namespace proxconnect {
namespace {

constexpr std::int64_t five = 5;    // inputs that share a table
constexpr std::int64_t block = 32;  // fives that are added before their sum is

// The place of a five in a panel: from bit `shift` of `word` on, and over into `next`.
struct FivePlace {
  std::int64_t word;
  std::int64_t next;
  std::int64_t shift;

  FivePlace(std::int64_t index, std::int64_t words)
      : word((index * five) >> 5),
        next(word + 1 < words ? word + 1 : word),  // the last five of all may end past the last word
        shift((index * five) & 31) {}
};

// Some whole blocks of fives of a weight, or its last: tables[f][r] belongs to five first + f and to row r.
struct Fives {
  const float* tables;
  std::int64_t first;
  std::int64_t count;
  std::int64_t words;  // of a panel

  std::int64_t block_end(std::int64_t f) const { return f + block < count ? f + block : count; }
};

// sums[p][r][j] += the table entries that panel p, output j, chooses, block by block.
using W1A32Tile = void (*)(const Fives& fives, const std::uint32_t* panel, Floats* sums);

// The tiles for `rows` rows: for several panels at a time, and for one.
struct W1A32Tiles {
  int rows;
  int panels;
  W1A32Tile several;
  W1A32Tile one;
};

// tables[f][r] of fives first + f of the inputs of `count` rows, each made by make(inputs, table).
template <int table_size, typename Make>
void make_tables(const Make& make, const W1A32& product, std::int64_t row, int count, std::int64_t first,
                 std::int64_t fives, float* tables) {
  const std::int64_t k = product.b.k;
  for (int r = 0; r < count; ++r) {
    const float* x = product.x.values + (row + r) * product.x.stride;
    float* table = tables + r * table_size;
    for (std::int64_t f = first; f < first + fives; ++f, table += count * table_size) {
      if ((f + 1) * five <= k) {
        make(x + f * five, table);
      } else {
        float rest[five] = {};
        std::memcpy(rest, x + f * five, static_cast<std::size_t>(k - f * five) * sizeof(float));
        make(rest, table);
      }
    }
  }
}

// Tiles are in falling order of their rows, down to one. The tables in use at a time, of table_size floats each,
// fit a first-level cache.
template <int table_size, int kinds, typename Make>
void w1a32_loop(const W1A32Tiles (&tiles)[kinds], const Make& make, const W1A32& product, Range rows,
                Range panels) {
  constexpr std::int64_t most_tables = 256;
  const Panels& b = product.b;
  const std::int64_t all = (b.k + five - 1) / five;
  alignas(64) float tables[most_tables * table_size];

  const W1A32Tiles* tile = tiles;
  while (tile->rows > 1 && tile->rows > rows.end - rows.begin) ++tile;
  const auto most_sums = static_cast<std::size_t>((panels.end - panels.begin) * tile->rows);
  const std::unique_ptr<Floats[]> sums(new Floats[most_sums]);

  for (std::int64_t row = rows.begin; row < rows.end; row += tile->rows) {
    while (tile->rows > rows.end - row) ++tile;
    const int count = tile->rows;
    const auto sums_of = [&](std::int64_t panel) { return sums.get() + (panel - panels.begin) * count; };
    for (Floats* sum = sums_of(panels.begin); sum != sums_of(panels.end); ++sum) *sum = Floats{};

    const std::int64_t together = most_tables / count / block * block;
    for (std::int64_t first = 0; first < all; first += together) {
      const std::int64_t fives = all - first < together ? all - first : together;
      make_tables<table_size>(make, product, row, count, first, fives, tables);
      const Fives chosen{tables, first, fives, words_of(b.k)};
      std::int64_t panel = panels.begin;
      for (; panel + tile->panels <= panels.end; panel += tile->panels) {
        tile->several(chosen, b.panel(panel), sums_of(panel));
      }
      for (; panel < panels.end; ++panel) tile->one(chosen, b.panel(panel), sums_of(panel));
    }

    for (std::int64_t panel = panels.begin; panel < panels.end; ++panel) {
      const AffineWriter write(product.output, Place(row, panel, b.n));
      for (int r = 0; r < count; ++r) write(r, sums_of(panel)[r]);
    }
  }
}

}  // namespace
}  // namespace proxconnect
