// W1A32 for rows that do not fill a vector (GEMV, or a few rows at a time): lanes are the outputs of a panel. The table
// of a row's five inputs lies in registers, in which the signs of the outputs look up.
#pragma once

#include "sets/common/w1a32_gemm.h"

namespace proxconnect {
namespace {

// A run of tables, of whole K-blocks or up to the last: tables[t][r] is table first + t of row r.
struct TableRun {
  const float* tables;
  std::int64_t first;
  std::int64_t count;
  std::int64_t words;  // of a panel

  std::int64_t block_end(std::int64_t t) const { return t + k_block_tables < count ? t + k_block_tables : count; }
  TableIndex index(std::int64_t t) const { return {first + t, 0, words}; }
};

// Adds to sums[p][r][j] the entries that output j of panel p chooses in the tables of row r, K-block by K-block.
using GemvMicroKernel = void (*)(const TableRun& run, const std::uint32_t* panel, Floats* sums);

// The micro-kernels for `rows` rows: for `panels` panels at a time, and for one.
struct GemvMicroKernels {
  int rows;
  int panels;
  GemvMicroKernel for_panels;
  GemvMicroKernel for_one;
};

// Makes tables[t][r] of tables first + t of the inputs of `count` rows, each by make(inputs, table).
template <int table_floats, typename Make>
void make_tables(const Make& make, const W1A32& product, std::int64_t row, int count, std::int64_t first,
                 std::int64_t run, float* tables) {
  const std::int64_t k = product.b.k;
  for (int r = 0; r < count; ++r) {
    const float* x = product.x.values + (row + r) * product.x.stride;
    float* table = tables + r * table_floats;
    for (std::int64_t t = first; t < first + run; ++t, table += count * table_floats) {
      if ((t + 1) * table_inputs <= k) {
        make(x + t * table_inputs, table);
      } else {
        float rest[table_inputs] = {};
        std::memcpy(rest, x + t * table_inputs, static_cast<std::size_t>(k - t * table_inputs) * sizeof(float));
        make(rest, table);
      }
    }
  }
}

// Micro-kernels are in falling order of their rows, down to one. The tables in use at a time, of table_floats floats
// each, fit the first-level cache for several rows, but only the second for one row, so that weights are read in long
// runs.
template <int table_floats, int kinds, typename Make>
void w1a32_gemv(const GemvMicroKernels (&micro_kernels)[kinds], const Make& make, const W1A32& product, Range rows,
                Range panels) {
  constexpr std::int64_t tables_of_rows = 256;
  constexpr std::int64_t max_tables_of_row = 1024;
  constexpr std::int64_t max_sums = 512;
  const Panels& b = product.b;
  const std::int64_t end = tables_of(b.k);
  alignas(64) float tables[max_tables_of_row * table_floats];
  Floats sums[max_sums];

  const GemvMicroKernels* chosen = micro_kernels;
  for (std::int64_t row = rows.begin; row < rows.end; row += chosen->rows) {
    while (chosen->rows > rows.end - row) ++chosen;
    const int count = chosen->rows;
    const std::int64_t run_tables =
        (count > 1 ? tables_of_rows / count : max_tables_of_row) / k_block_tables * k_block_tables;
    for (Range block{panels.begin, panels.begin}; block.begin < panels.end; block.begin = block.end) {
      block.end = own::min(block.begin + max_sums / count, panels.end);
      const auto sums_of = [&](std::int64_t panel) { return sums + (panel - block.begin) * count; };
      own::fill_n(sums, (block.end - block.begin) * count, Floats{});

      for (std::int64_t first = 0; first < end; first += run_tables) {
        const TableRun run{tables, first, own::min(end - first, run_tables), words_of(b.k)};
        make_tables<table_floats>(make, product, row, count, first, run.count, tables);
        std::int64_t panel = block.begin;
        for (; panel + chosen->panels <= block.end; panel += chosen->panels) {
          chosen->for_panels(run, b.panel(panel), sums_of(panel));
        }
        for (; panel < block.end; ++panel) chosen->for_one(run, b.panel(panel), sums_of(panel));
      }

      for (std::int64_t panel = block.begin; panel < block.end; ++panel) {
        const AffineWriter write(product.output, Place(row, panel, b.n));
        for (int r = 0; r < count; ++r) write(r, sums_of(panel)[r]);
      }
    }
  }
}

// Computes whole vectors of rows by GEMM. The rows left over go the same way where they are at least `min_gemm_rows`,
// and by GEMV otherwise.
template <int table_floats, int kinds, typename Make>
void w1a32_gemm_and_gemv(const GemvMicroKernels (&micro_kernels)[kinds], const Make& make, std::int64_t min_gemm_rows,
                         const W1A32& product, Range rows, Range panels) {
  const std::int64_t rest = (rows.end - rows.begin) % lanes;
  const std::int64_t end = rest < min_gemm_rows ? rows.end - rest : rows.end;
  w1a32_gemm(product, Range{rows.begin, end}, panels);
  w1a32_gemv<table_floats>(micro_kernels, make, product, Range{end, rows.end}, panels);
}

}  // namespace
}  // namespace proxconnect
