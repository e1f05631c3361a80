// What a kernel set supplies for W1A8: the signs of some panels are spread out to bytes once, then many rows of bytes
// are multiplied by them.
#pragma once

#include "sets/common/outputs.h"

namespace proxconnect {
namespace {

// Four inputs, and the weights of a panel's outputs that belong to them: what a tile takes at a time.
constexpr std::int64_t four = 4;
constexpr std::int64_t four_bytes = four * panel_width;
constexpr std::int64_t fours_of_word = word_bits / four;

// What stands for 0 in an input's byte: the products of bytes that x86 has take unsigned inputs.
#if defined(__AVX2__)
constexpr int zero_byte = 128;
#else
constexpr int zero_byte = 0;
#endif

// Where the inputs of a row lie: `count` runs of `fours`, each at an offset from its first byte.
struct Runs {
  const std::int64_t* offsets;
  std::int64_t count;
  std::int64_t fours;
};

// sums[r][p] += the bytes of row r times the weights of panel p, for some number of rows, `stride` bytes apart.
// Weights are +-1: [runs][fours][panels][16][4].
using W1A8Tile = void (*)(const std::uint8_t* q, std::int64_t stride, const Runs& runs, const std::int8_t* weights,
                          Integers* sums);

// The first `fours` of a panel's words as bytes, `between` bytes from one four to the next. Returns the sum of each
// output's weights, inputs past the end (all -1) included.
using W1A8Spread = Integers (*)(const std::uint32_t* words, std::int64_t fours, std::int64_t between,
                                std::int8_t* weights);

template <int most_rows, int most_panels>
struct W1A8Tiles {
  W1A8Spread spread;
  W1A8Tile tiles[most_panels][most_rows];  // [panels - 1][rows - 1]
};

inline Integers sum_of_signs(const std::uint32_t* words, std::int64_t fours) {
  Integers set = {};
  for (std::int64_t word = 0; word * fours_of_word < fours; ++word, words += panel_width) {
    for (int j = 0; j < panel_width; ++j) set[j] += own::popcount(words[j]);
  }
  return 2 * set - static_cast<std::int32_t>(fours * four);
}

// A W1A8Spread for any processor.
inline Integers spread_signs(const std::uint32_t* words, std::int64_t fours, std::int64_t between,
                             std::int8_t* weights) {
  for (std::int64_t i = 0; i < fours; ++i, weights += between) {
    const std::uint32_t* word = words + i / fours_of_word * panel_width;
    const std::int64_t first = i % fours_of_word * four;
    for (int byte = 0; byte < four_bytes; ++byte) {
      weights[byte] = word[byte / four] >> (first + byte % four) & 1u ? 1 : -1;
    }
  }
  return sum_of_signs(words, fours);
}

// 0 .. size in as few parts of at most `most` as it takes, all about as large: 14 by 12 are 7 and 7.
class Parts {
 public:
  Parts(std::int64_t size, std::int64_t most) : size_(size), count_((size + most - 1) / most) {}

  std::int64_t count() const { return count_; }
  std::int64_t greatest() const { return count_ > 0 ? (size_ + count_ - 1) / count_ : 0; }
  Range operator[](std::int64_t i) const { return {size_ * i / count_, size_ * (i + 1) / count_}; }

 private:
  std::int64_t size_;
  std::int64_t count_;
};

enum class Scratch { inputs, steps, weights, starts, sums, groups };

// Room for `count` elements, of any content. Each thread keeps what it once had: as much memory of a thread's own goes
// back to the system when it is freed, and getting it anew, page by page, takes longer than some products.
template <Scratch purpose, typename T>
T* scratch(std::int64_t count) {
  thread_local own::Array<T> memory;
  memory.make_room(count);
  return memory.data();
}

}  // namespace
}  // namespace proxconnect
