// Groups of inputs that share a scale.
#pragma once

#include "sets/common/outputs.h"

namespace proxconnect {
namespace {

// Words that are taken together: those of a group, or as many of them as are taken at once.
struct Piece {
  std::int64_t group;
  std::int64_t word;
  std::int64_t words;
  bool begins_group;
  bool ends_group;
  bool is_last;
};

// All words of k inputs, in their order; one piece without words where there are no inputs.
class Pieces {
 public:
  Pieces(std::int64_t k, std::int64_t group, std::int64_t most_words)
      : words_(words_of(k)), group_words_(group / word_bits), most_words_(most_words) {}

  std::int64_t greatest() const { return least(least(words_, group_words_), most_words_); }
  bool one() const { return greatest() == words_; }
  Piece first() const { return at(0, 0); }
  Piece after(const Piece& piece) const {
    return at(piece.group + (piece.ends_group ? 1 : 0), piece.word + piece.words);
  }

 private:
  static std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

  Piece at(std::int64_t group, std::int64_t word) const {
    const std::int64_t begin = group * group_words_;
    const std::int64_t end = least(begin + group_words_, words_);
    const std::int64_t words = least(end - word, most_words_);
    return {group, word, words, word == begin, word + words == end, word + words == words_};
  }

  std::int64_t words_;
  std::int64_t group_words_;
  std::int64_t most_words_;
};

// Adds the sums of a group, times its scales, to what the groups before it came to; after the last, finishes.
class GroupWriter {
 public:
  GroupWriter(const AffineOutput& output, const Place& at, const Piece& piece)
      : scale_(load<Floats>(output.scale + piece.group * at.n + at.j, at.width)),
        write_(output, at),
        first_(piece.group == 0),
        last_(piece.is_last) {}

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
