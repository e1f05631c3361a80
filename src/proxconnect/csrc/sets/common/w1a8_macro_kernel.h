// The loop around a W1A8 tile: a block of rows is quantized once, then passes by a few panels at a time.
#pragma once

#include "sets/common/k_blocks.h"
#include "sets/common/quantize.h"
#include "sets/common/w1a8_micro_kernel.h"

namespace proxconnect {
namespace {

// A block of rows stays in the second-level cache.
constexpr std::int64_t block_bytes = 768 * 1024;

// Words whose signs are spread at a time, of all panels: for few rows as many as the first-level cache holds, where
// reading them back is most of the work; else as many as the second does, so that outputs are written side by side.
constexpr std::int64_t spread_words(std::int64_t rows) { return rows < 64 ? 64 : 768; }

template <int most_rows, int most_panels>
class W1A8Loop {
 public:
  W1A8Loop(const W1A8Tiles<most_rows, most_panels>& with, const W1A8& product, Range rows, Range panels)
      : with_(with),
        product_(product),
        rows_(rows),
        panels_(panels),
        stride_(words_of(product.b.k) * word_bits),
        pieces_(product.b.k, product.group, spread_words(rows.end - rows.begin) / most_panels),
        blocks_(rows.end - rows.begin, block_bytes / (stride_ + 1) + most_rows),
        together_(fitting(panels.end - panels.begin)),
        panel_bytes_(pieces_.greatest() * fours_of_word * four_bytes),
        q_(scratch<Scratch::inputs, std::uint8_t>(blocks_.greatest() * stride_)),
        steps_(scratch<Scratch::steps, float>(blocks_.greatest())),
        weights_(scratch<Scratch::weights, Integers>(together_ * panel_bytes_ / four_bytes)),
        starts_(scratch<Scratch::starts, Integers>(together_)),
        sums_(scratch<Scratch::sums, Integers>(kept())),
        y_(scratch<Scratch::groups, Floats>(kept())) {}

  // Returns whether every row is finite.
  bool run() {
    bool finite = true;
    for (std::int64_t block = 0; block < blocks_.count(); ++block) {
      const Range rows{rows_.begin + blocks_[block].begin, rows_.begin + blocks_[block].end};
      finite &= quantize_rows(rows);
      for (std::int64_t panel = panels_.begin; panel < panels_.end; panel += together_) {
        const Range some{panel, panels_.end - panel < together_ ? panels_.end : panel + together_};
        for (Piece piece = pieces_.first();; piece = pieces_.after(piece)) {
          spread(some, piece);
          multiply(rows, some, piece);
          if (piece.is_last) break;
        }
      }
    }
    return finite;
  }

 private:
  // Panels whose bytes fit, in whole tiles.
  std::int64_t fitting(std::int64_t panels) const {
    const std::int64_t words = spread_words(rows_.end - rows_.begin);
    const std::int64_t tiles = words / most_panels / (pieces_.greatest() + 1);
    const std::int64_t fit = (tiles > 0 ? tiles : 1) * most_panels;
    return fit < panels ? fit : panels;
  }

  // Sums that are kept from one piece to the next, if there are several; otherwise those of one tile.
  std::int64_t kept() const { return pieces_.one() ? most_rows * most_panels : blocks_.greatest() * together_; }

  bool quantize_rows(Range rows) {
    const std::int64_t k = product_.b.k;
    bool finite = true;
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      const float* x = product_.x.values + row * product_.x.stride;
      const Step by(greatest_magnitude(x, k), product_.greatest);
      finite &= by.finite;
      steps_[row - rows.begin] = by.step;
      quantize(x, k, by, zero_byte, stride_, q_ + (row - rows.begin) * stride_);
    }
    return finite;
  }

  // Panels of a tile lie side by side: [tiles][fours][panels of the tile].
  std::int8_t* weights(std::int64_t panel) const {
    return reinterpret_cast<std::int8_t*>(weights_) + panel * panel_bytes_;
  }

  void spread(Range panels, const Piece& piece) {
    const std::int64_t count = panels.end - panels.begin;
    for (std::int64_t first = 0; first < count; first += most_panels) {
      const std::int64_t width = count - first < most_panels ? count - first : most_panels;
      for (std::int64_t p = 0; p < width; ++p) {
        starts_[first + p] =
            -zero_byte * with_.spread(product_.b.panel(panels.begin + first + p) + piece.word * panel_width,
                                       piece.words * fours_of_word, width * four_bytes,
                                       weights(first) + p * four_bytes);
      }
    }
  }

  void multiply(Range rows, Range panels, const Piece& piece) {
    const Parts tiles(rows.end - rows.begin, most_rows);
    const std::int64_t offset = piece.word * word_bits;
    const Runs run{&offset, 1, piece.words * fours_of_word};
    for (std::int64_t i = 0; i < tiles.count(); ++i) {
      const auto [row, end] = tiles[i];
      const int count = static_cast<int>(end - row);
      for (std::int64_t panel = panels.begin; panel < panels.end; panel += most_panels) {
        const int width = static_cast<int>(panels.end - panel < most_panels ? panels.end - panel : most_panels);
        const std::int64_t first = panel - panels.begin;
        const std::int64_t kept = pieces_.one() ? 0 : row * (panels.end - panels.begin) + first * count;
        Integers* const sums = sums_ + kept;
        for (int r = 0; r < count; ++r) {
          for (int p = 0; p < width; ++p) {
            Integers& sum = sums[r * width + p];
            sum = piece.begins_group ? starts_[first + p] : sum + starts_[first + p];
          }
        }
        with_.tiles[width - 1][count - 1](q_ + row * stride_, stride_, run, weights(first), sums);
        if (!piece.ends_group) continue;
        for (int p = 0; p < width; ++p) {
          const GroupWriter write(product_.output, Place(rows.begin + row, panel + p, product_.b.n), piece);
          for (int r = 0; r < count; ++r) {
            write(r, sums[r * width + p], steps_[row + r], y_[kept + r * width + p]);
          }
        }
      }
    }
  }

  const W1A8Tiles<most_rows, most_panels>& with_;
  const W1A8& product_;
  Range rows_;
  Range panels_;
  std::int64_t stride_;  // of q
  Pieces pieces_;
  Parts blocks_;
  std::int64_t together_;     // panels spread at a time
  std::int64_t panel_bytes_;  // of one of them
  std::uint8_t* q_;
  float* steps_;
  Integers* weights_;
  Integers* starts_;
  Integers* sums_;
  Floats* y_;
};

template <int most_rows, int most_panels>
bool w1a8_loop(const W1A8Tiles<most_rows, most_panels>& with, const W1A8& product, Range rows, Range panels) {
  return W1A8Loop<most_rows, most_panels>(with, product, rows, panels).run();
}

}  // namespace
}  // namespace proxconnect
