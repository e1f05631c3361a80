// Few rows: lanes are the outputs of a panel. The signed sums of five inputs of a row lie in registers, in which
// the signs of the outputs look up.
#pragma once

#include "sets/common/w1a32_gemm.h"

namespace proxconnect {
namespace {

// Some whole blocks of fives of a weight, or its last: tables[f][r] belongs to five first + f and to row r.
struct Fives {
  const float* tables;
  std::int64_t first;
  std::int64_t count;
  std::int64_t words;  // of a panel

  std::int64_t block_end(std::int64_t f) const { return f + block < count ? f + block : count; }
  FivePlace place(std::int64_t f) const { return {first + f, 0, words}; }
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

// Tiles are in falling order of their rows, down to one. The tables of several rows in use at a time, of table_size
// floats each, fit a first-level cache; those of one row only the second, so that weights are read in long runs.
template <int table_size, int kinds, typename Make>
void w1a32_few_rows(const W1A32Tiles (&tiles)[kinds], const Make& make, const W1A32& product, Range rows,
                    Range panels) {
  constexpr std::int64_t tables_of_rows = 256;
  constexpr std::int64_t most_tables = 1024;
  constexpr std::int64_t most_sums = 512;
  const Panels& b = product.b;
  const std::int64_t all = fives_of(b.k);
  alignas(64) float tables[most_tables * table_size];
  Floats sums[most_sums];

  const W1A32Tiles* tile = tiles;
  for (std::int64_t row = rows.begin; row < rows.end; row += tile->rows) {
    while (tile->rows > rows.end - row) ++tile;
    const int count = tile->rows;
    const std::int64_t fives_together = (count > 1 ? tables_of_rows / count : most_tables) / block * block;
    for (Range some{panels.begin, panels.begin}; some.begin < panels.end; some.begin = some.end) {
      some.end = own::min(some.begin + most_sums / count, panels.end);
      const auto sums_of = [&](std::int64_t panel) { return sums + (panel - some.begin) * count; };
      own::fill_n(sums, (some.end - some.begin) * count, Floats{});

      for (std::int64_t first = 0; first < all; first += fives_together) {
        const std::int64_t fives = own::min(all - first, fives_together);
        make_tables<table_size>(make, product, row, count, first, fives, tables);
        const Fives chosen{tables, first, fives, words_of(b.k)};
        std::int64_t panel = some.begin;
        for (; panel + tile->panels <= some.end; panel += tile->panels) {
          tile->several(chosen, b.panel(panel), sums_of(panel));
        }
        for (; panel < some.end; ++panel) tile->one(chosen, b.panel(panel), sums_of(panel));
      }

      for (std::int64_t panel = some.begin; panel < some.end; ++panel) {
        const AffineWriter write(product.output, Place(row, panel, b.n));
        for (int r = 0; r < count; ++r) write(r, sums_of(panel)[r]);
      }
    }
  }
}

// All rows: by lanes, and by tiles those left over where they are fewer than `many`.
template <int table_size, int kinds, typename Make>
void w1a32_rows(const W1A32Tiles (&tiles)[kinds], const Make& make, std::int64_t many, const W1A32& product, Range rows,
                Range panels) {
  const std::int64_t rest = (rows.end - rows.begin) % lanes;
  const std::int64_t end = rest < many ? rows.end - rest : rows.end;
  w1a32_many_rows(product, Range{rows.begin, end}, panels);
  w1a32_few_rows<table_size>(tiles, make, product, Range{end, rows.end}, panels);
}

}  // namespace
}  // namespace proxconnect
