// The W1A32 micro-kernel of the portable set looks outputs up one by one.

#include "sets/common/kernels.h"
#include "sets/common/w1a32_gemv.h"

namespace proxconnect::portable {
namespace {

void make_table(const float* x, float* table) {
  for (unsigned entry = 0; entry < table_entries; ++entry) {
    const auto signed_input = [&](unsigned i) { return entry >> i & 1u ? x[i] : -x[i]; };
    table[entry] = ((signed_input(0) + signed_input(1)) + signed_input(2)) + (signed_input(3) + signed_input(4));
  }
}

void micro_kernel(const TableRun& run, const std::uint32_t* panel, Floats* sums) {
  const float* table = run.tables;
  for (std::int64_t t = 0; t < run.count;) {
    Floats sum = {};
    for (const std::int64_t end = run.block_end(t); t < end; ++t, table += table_entries) {
      const TableIndex index = run.index(t);
      const std::uint32_t* word = panel + index.word * panel_width;
      const std::uint32_t* next = panel + index.next * panel_width;
      for (int j = 0; j < panel_width; ++j) {
        const std::uint64_t both = word[j] | std::uint64_t{next[j]} << word_bits;
        sum[j] += table[both >> index.shift & (table_entries - 1)];
      }
    }
    *sums += sum;
  }
}

constexpr GemvMicroKernels micro_kernels[] = {{1, 1, micro_kernel, micro_kernel}};

}  // namespace

void w1a32(const W1A32& product, Range rows, Range panels) {
  constexpr std::int64_t min_gemm_rows = 2;
  w1a32_gemm_and_gemv<table_entries>(micro_kernels, make_table, min_gemm_rows, product, rows, panels);
}

}  // namespace proxconnect::portable
