// K-blocks: the runs of inputs that are multiplied at a time, which groups with a scale of their own bound.
#pragma once

#include "sets/common/group_scales.h"

namespace proxconnect {
namespace {

// A run of words: those of a group, or as many of them as are multiplied at a time.
struct KBlock {
  std::int64_t group;
  std::int64_t word;
  std::int64_t words;
  bool begins_group;
  bool ends_group;
  bool is_last;

  std::int64_t first_input() const { return word * word_bits; }
  // The end of its inputs, of k in all.
  std::int64_t end_input(std::int64_t k) const { return own::min((word + words) * word_bits, k); }
};

// The blocks of the words of k inputs, in their order. Without inputs there is one block without words.
class KBlocks {
 public:
  KBlocks(std::int64_t k, std::int64_t group, std::int64_t max_words)
      : words_(words_of(k)), group_words_(group / word_bits), max_words_(max_words) {}

  std::int64_t largest() const { return least(least(words_, group_words_), max_words_); }
  bool only_one() const { return largest() == words_; }
  KBlock first() const { return at(0, 0); }
  KBlock after(const KBlock& block) const {
    return at(block.group + (block.ends_group ? 1 : 0), block.word + block.words);
  }

 private:
  static std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

  KBlock at(std::int64_t group, std::int64_t word) const {
    const std::int64_t begin = group * group_words_;
    const std::int64_t end = least(begin + group_words_, words_);
    const std::int64_t words = least(end - word, max_words_);
    return {group, word, words, word == begin, word + words == end, word + words == words_};
  }

  std::int64_t words_;
  std::int64_t group_words_;
  std::int64_t max_words_;
};

// Adds the sums of a block's group, times its scales, to those of the groups before it. After the last group it finishes
// the outputs, which are those of `rows` rows and a panel. Calls sum_of(r) for the sums of a row, step_of(r) for what its
// inputs were divided by, and so_far_of(r) for the place of the sum of the groups.
template <typename Product, typename SumOf, typename StepOf, typename SoFarOf>
[[gnu::always_inline]] inline void add_group(const Product& product, const Place& at, const KBlock& block, int rows,
                                             const SumOf& sum_of, const StepOf& step_of, const SoFarOf& so_far_of) {
  const Floats scale = PanelScales(product, at)[block.group];
  if (block.group == 0 && block.is_last) {
    const ScaledWriter write(product.output, at);
    for (int r = 0; r < rows; ++r) write.finish(r, to_floats(sum_of(r)) * scale * step_of(r));
    return;
  }
  if (block.group == 0) {
    for (int r = 0; r < rows; ++r) so_far_of(r) = to_floats(sum_of(r)) * scale;
  } else {
    for (int r = 0; r < rows; ++r) so_far_of(r) += to_floats(sum_of(r)) * scale;
  }
  if (!block.is_last) return;
  const ScaledWriter write(product.output, at);
  for (int r = 0; r < rows; ++r) write.finish(r, so_far_of(r) * step_of(r));
}

}  // namespace
}  // namespace proxconnect
