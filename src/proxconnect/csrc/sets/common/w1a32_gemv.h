// W1A32 for rows that do not fill a vector (GEMV, or a few rows at a time): lanes are the outputs of a panel. The table
// of a row's five inputs lies in registers, in which the signs of the outputs look up.
#pragma once

#include "sets/common/w1a32_gemm.h"

namespace proxconnect {
namespace {

// The tables of a KBlock, which begins a K-block: tables[t][r] is table t of row r.
struct TableRun {
  const float* tables;
  std::int64_t count;
  std::int64_t words;   // of signs that these tables take
  std::int64_t stride;  // of panels, in words

  std::int64_t block_end(std::int64_t t) const { return t + k_block_tables < count ? t + k_block_tables : count; }
  TableIndex index(std::int64_t t) const { return {t, 0, words}; }
};

// Adds to sums[p][r][j] the entries that output j of panel p chooses in the tables of row r, K-block by K-block. `panel`
// is at the first word of signs.
using GemvMicroKernel = void (*)(const TableRun& run, const std::uint32_t* panel, Floats* sums);

// The micro-kernels for `rows` rows: for `panels` panels at a time, and for one.
struct GemvMicroKernels {
  int rows;
  int panels;
  GemvMicroKernel for_panels;
  GemvMicroKernel for_one;
};

// Makes tables[t][r] of the inputs `first` to `end` of `count` rows, each by make(inputs, table).
template <int table_floats, typename Make>
void make_tables(const Make& make, const FloatRows& x, std::int64_t row, int count, std::int64_t first,
                 std::int64_t end, float* tables) {
  for (int r = 0; r < count; ++r) {
    const float* inputs = x.values + (row + r) * x.stride;
    float* table = tables + r * table_floats;
    for (std::int64_t i = first; i < end; i += table_inputs, table += count * table_floats) {
      if (i + table_inputs <= end) {
        make(inputs + i, table);
      } else {
        float rest[table_inputs] = {};
        std::memcpy(rest, inputs + i, static_cast<std::size_t>(end - i) * sizeof(float));
        make(rest, table);
      }
    }
  }
}

// Micro-kernels are in falling order of their rows, down to one. The tables in use at a time, of table_floats floats
// each, fit the first-level cache for several rows, but only the second for one row, so that weights are read in long
// runs: those of several groups of inputs where these are small.
template <int table_floats, int kinds, typename Make>
void w1a32_gemv(const GemvMicroKernels (&micro_kernels)[kinds], const Make& make, const W1A32& product, Range rows,
                Range panels) {
  constexpr std::int64_t tables_of_rows = 256;
  constexpr std::int64_t max_tables_of_row = 1024;
  constexpr std::int64_t max_sums = 512;
  const Panels& b = product.b;
  alignas(64) float tables[max_tables_of_row * table_floats];
  Floats sums[max_sums];
  Floats y[max_sums];

  const GemvMicroKernels* chosen = micro_kernels;
  for (std::int64_t row = rows.begin; row < rows.end; row += chosen->rows) {
    while (chosen->rows > rows.end - row) ++chosen;
    const int count = chosen->rows;
    const std::int64_t most_tables =
        (count > 1 ? tables_of_rows / count : max_tables_of_row) / k_block_tables * k_block_tables;
    const KBlocks blocks(b.k, product.group, most_tables * table_inputs / word_bits);
    const auto tables_in = [&](const KBlock& block) { return tables_of(block.end_input(b.k) - block.first_input()); };
    const std::int64_t kernel_panels = own::max<std::int64_t>(chosen->panels / b.planes, 1);
    for (Range part{panels.begin, panels.begin}; part.begin < panels.end; part.begin = part.end) {
      part.end = own::min(part.begin + max_sums / (count * b.planes), panels.end);
      own::fill_n(sums, (part.end - part.begin) * count * b.planes, Floats{});

      for (KBlock first = blocks.first(), next = first;; first = next) {
        std::int64_t run_blocks = 0, run_tables = 0;
        do {
          make_tables<table_floats>(make, product.x, row, count, next.first_input(), next.end_input(b.k),
                                    tables + run_tables * count * table_floats);
          run_tables += tables_in(next);
          ++run_blocks;
          next = blocks.after(next);
        } while (next.words > 0 && run_tables + tables_in(next) <= most_tables);

        for (std::int64_t panel = part.begin, width; panel < part.end; panel += width) {
          width = panel + kernel_panels <= part.end ? kernel_panels : 1;
          const float* of_block = tables;
          KBlock block = first;
          for (std::int64_t i = 0; i < run_blocks; ++i, block = blocks.after(block)) {
            const TableRun run{of_block, tables_in(block), block.words, b.panel_words()};
            of_block += run.count * count * table_floats;
            const std::uint32_t* const words = b.panel(panel) + block.word * panel_width;
            const std::int64_t planes = width * b.planes;
            Floats* const found = sums + (panel - part.begin) * b.planes * count;
            if (planes == chosen->panels) {
              chosen->for_panels(run, words, found);
            } else {
              for (std::int64_t p = 0; p < planes; ++p) {
                chosen->for_one(run, words + p * b.panel_words(), found + p * count);
              }
            }
            if (!block.ends_group) continue;
            for (std::int64_t p = 0; p < width; ++p) {
              Floats* const sum = found + p * b.planes * count;
              add_group(
                  product, Place(row, panel + p, b.n), block, count,
                  [&](int r) { return b.planes == 1 ? sum[r] : (sum[r] + sum[count + r]) * 0.5f; },
                  [](int) { return 1.0f; }, [&](int r) -> Floats& { return y[(panel + p - part.begin) * count + r]; });
              own::fill_n(sum, b.planes * count, Floats{});
            }
          }
        }
        if (next.words == 0) break;
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
