#include "sets/common/kernels.h"
#include "sets/common/w1a32_gemv.h"

namespace proxconnect::portable {
namespace {

void make_table(const float* x, float* table) {
  for (unsigned entry = 0; entry < table_size; ++entry) {
    const auto signed_input = [&](unsigned i) { return entry >> i & 1u ? x[i] : -x[i]; };
    table[entry] = ((signed_input(0) + signed_input(1)) + signed_input(2)) + (signed_input(3) + signed_input(4));
  }
}

void tile(const Fives& fives, const std::uint32_t* panel, Floats* sums) {
  const float* table = fives.tables;
  for (std::int64_t f = 0; f < fives.count;) {
    Floats sum = {};
    for (const std::int64_t end = fives.block_end(f); f < end; ++f, table += table_size) {
      const FivePlace place = fives.place(f);
      const std::uint32_t* word = panel + place.word * panel_width;
      const std::uint32_t* next = panel + place.next * panel_width;
      for (int j = 0; j < panel_width; ++j) {
        const std::uint64_t both = word[j] | std::uint64_t{next[j]} << word_bits;
        sum[j] += table[both >> place.shift & (table_size - 1)];
      }
    }
    *sums += sum;
  }
}

constexpr W1A32Tiles tiles[] = {{1, 1, tile, tile}};

}  // namespace

void w1a32(const W1A32& product, Range rows, Range panels) {
  constexpr std::int64_t many = 2;
  w1a32_rows<table_size>(tiles, make_table, many, product, rows, panels);
}

}  // namespace proxconnect::portable
