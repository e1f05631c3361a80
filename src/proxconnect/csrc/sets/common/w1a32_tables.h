// How the inputs of a weight go by fives.
#pragma once

#include "sets/common/outputs.h"

namespace proxconnect {
namespace {

constexpr std::int64_t five = 5;         // inputs that share a table
constexpr std::int64_t table_size = 32;  // their signed sums
constexpr std::int64_t block = 32;       // fives that are added before their sum is

inline std::int64_t fives_of(std::int64_t inputs) { return (inputs + five - 1) / five; }

// The place of a five in a panel: from bit `shift` of `word` on, and over into `next`.
struct FivePlace {
  std::int64_t word;
  std::int64_t next;
  int shift;

  FivePlace() = default;
  // Five number `index` of inputs whose signs are the `words` words from `first` on.
  FivePlace(std::int64_t index, std::int64_t first, std::int64_t words)
      : word(first + (index * five >> 5)),
        next(word + 1 < first + words ? word + 1 : word),  // the last five of all may end past the last word
        shift(static_cast<int>(index * five & 31)) {}

  // For each output of a panel, the bits of the five; above them lie others.
  Integers bits(const std::uint32_t* panel) const {
    const auto low = load<Words>(panel + word * panel_width, panel_width) >> shift;
    if (shift + five <= word_bits) return reinterpret_cast<const Integers&>(low);
    const auto both = low | load<Words>(panel + next * panel_width, panel_width) << (word_bits - shift);
    return reinterpret_cast<const Integers&>(both);
  }

 private:
  using Words = std::uint32_t __attribute__((vector_size(panel_width * sizeof(std::uint32_t))));
};

}  // namespace
}  // namespace proxconnect
