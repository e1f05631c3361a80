// The look-up tables of W1A32: five inputs share a table of their 32 signed sums, and the five signs of a weight are
// the index into it.
#pragma once

#include "sets/common/outputs.h"

namespace proxconnect {
namespace {

constexpr std::int64_t table_inputs = 5;
constexpr std::int64_t table_entries = 32;
constexpr std::int64_t k_block_tables = 32;  // whose entries are added before their sum is

inline std::int64_t tables_of(std::int64_t inputs) { return (inputs + table_inputs - 1) / table_inputs; }

// Returns how many fives of channels a K-block of a convolution holds, with all taps of each.
inline std::int64_t block_fives(std::int64_t taps) { return taps < k_block_tables ? k_block_tables / taps : 1; }

// The place of a table's indices in a panel: from bit `shift` of `word` on, and over into `next`.
struct TableIndex {
  std::int64_t word;
  std::int64_t next;
  int shift;

  TableIndex() = default;
  // The indices of table number `table` of inputs whose signs are the `words` words from `first` on.
  TableIndex(std::int64_t table, std::int64_t first, std::int64_t words)
      : word(first + (table * table_inputs >> 5)),
        next(word + 1 < first + words ? word + 1 : word),  // the last table may end past the last word
        shift(static_cast<int>(table * table_inputs & 31)) {}

  // Returns the index of each output of a panel; above its bits lie others.
  Integers bits(const std::uint32_t* panel) const {
    const auto low = load<Words>(panel + word * panel_width, panel_width) >> shift;
    if (shift + table_inputs <= word_bits) return reinterpret_cast<const Integers&>(low);
    const auto both = low | load<Words>(panel + next * panel_width, panel_width) << (word_bits - shift);
    return reinterpret_cast<const Integers&>(both);
  }

 private:
  using Words = std::uint32_t __attribute__((vector_size(panel_width * sizeof(std::uint32_t))));
};

}  // namespace
}  // namespace proxconnect
