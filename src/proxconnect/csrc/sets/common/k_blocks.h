// K-blocks: the runs of inputs that are multiplied at a time, which groups with a scale of their own bound.
#pragma once

#include "sets/common/outputs.h"

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

// Adds the sums of a group, times its scales, to those of the groups before it. After the last it finishes the outputs.
class GroupWriter {
 public:
  GroupWriter(const AffineOutput& output, const Place& at, const KBlock& block)
      : scale_(load<Floats>(output.scale + block.group * at.n + at.j, at.width)),
        write_(output, at),
        first_(block.group == 0),
        last_(block.is_last) {}

  void operator()(int r, const Integers& sums, float step, Floats& so_far) const {
    Floats y = to_floats(sums) * scale_;
    if (!first_) y = so_far + y;
    if (last_) {
      write_.finish(r, y * step);
    } else {
      so_far = y;
    }
  }

 private:
  Floats scale_;
  AffineWriter write_;
  bool first_;
  bool last_;
};

}  // namespace
}  // namespace proxconnect
