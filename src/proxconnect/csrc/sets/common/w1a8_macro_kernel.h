// The macro-kernel of W1A8: the loops over blocks of rows, of panels and of K around a set's micro-kernel. A block of
// rows is quantized once and then meets one block of panels after the other, whose signs are unpacked to bytes.
#pragma once

#include "sets/common/k_blocks.h"
#include "sets/common/quantize.h"
#include "sets/common/scratch.h"
#include "sets/common/w1a8_micro_kernel.h"

namespace proxconnect {
namespace {

// A block of quantized rows stays in the second-level cache.
constexpr std::int64_t row_block_bytes = 768 * 1024;

// Returns how many words of signs, of all panels, are unpacked at a time. For few rows these are as many as the
// first-level cache holds, since reading them back is most of the work. For more rows they are as many as the
// second-level cache holds, so that neighbouring outputs are written at a time.
constexpr std::int64_t unpacked_words(std::int64_t rows) { return rows < 64 ? 64 : 768; }

template <int max_rows, int max_panels>
class W1A8MacroKernel {
 public:
  W1A8MacroKernel(const W1A8MicroKernels<max_rows, max_panels>& micro_kernels, const W1A8& product, Range rows,
                  Range panels)
      : micro_kernels_(micro_kernels),
        product_(product),
        rows_(rows),
        panels_(panels),
        stride_(words_of(product.b.k) * word_bits),
        k_blocks_(product.b.k, product.group, unpacked_words(rows.end - rows.begin) / max_panels),
        row_blocks_(rows.end - rows.begin, row_block_bytes / (stride_ + 1) + max_rows),
        block_panels_(fitting(panels.end - panels.begin)),
        panel_bytes_(k_blocks_.largest() * steps_of_word * step_bytes),
        q_(scratch<Scratch::inputs, std::uint8_t>(row_blocks_.largest() * stride_)),
        steps_(scratch<Scratch::steps, float>(row_blocks_.largest())),
        weights_(scratch<Scratch::weights, Integers>(block_panels_ * panel_bytes_ / step_bytes)),
        second_plane_(product.b.planes > 1 ? scratch<Scratch::plane, Integers>(panel_bytes_ / step_bytes) : nullptr),
        starts_(scratch<Scratch::starts, Integers>(block_panels_)),
        sums_(scratch<Scratch::sums, Integers>(kept_sums())),
        y_(scratch<Scratch::groups, Floats>(kept_sums())) {}

  // Returns whether every row is finite.
  bool run() {
    bool finite = true;
    for (std::int64_t i = 0; i < row_blocks_.count(); ++i) {
      const Range rows{rows_.begin + row_blocks_[i].begin, rows_.begin + row_blocks_[i].end};
      finite &= quantize_rows(rows);
      for (std::int64_t panel = panels_.begin; panel < panels_.end; panel += block_panels_) {
        const Range panels{panel, panels_.end - panel < block_panels_ ? panels_.end : panel + block_panels_};
        for (KBlock block = k_blocks_.first();; block = k_blocks_.after(block)) {
          unpack_signs(panels, block);
          multiply(rows, panels, block);
          if (block.is_last) break;
        }
      }
    }
    return finite;
  }

 private:
  // Returns how many panels' bytes fit, in whole micro-kernels.
  std::int64_t fitting(std::int64_t panels) const {
    const std::int64_t words = unpacked_words(rows_.end - rows_.begin);
    const std::int64_t kernels = words / max_panels / (k_blocks_.largest() + 1);
    const std::int64_t fit = (kernels > 0 ? kernels : 1) * max_panels;
    return fit < panels ? fit : panels;
  }

  // Returns how many sums are kept from one K-block to the next: with a single K-block, those of one micro-kernel.
  std::int64_t kept_sums() const {
    return k_blocks_.only_one() ? max_rows * max_panels : row_blocks_.largest() * block_panels_;
  }

  bool quantize_rows(Range rows) {
    const std::int64_t k = product_.b.k;
    bool finite = true;
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      const float* x = product_.x.values + row * product_.x.stride;
      const QuantizationStep step(greatest_magnitude(x, k), product_.greatest);
      finite &= step.finite;
      steps_[row - rows.begin] = step.step;
      quantize(x, k, step, zero_byte, stride_, q_ + (row - rows.begin) * stride_);
    }
    return finite;
  }

  // The panels of a micro-kernel lie side by side: [micro-kernels][k_steps][panels of the micro-kernel].
  std::int8_t* weights(std::int64_t panel) const {
    return reinterpret_cast<std::int8_t*>(weights_) + panel * panel_bytes_;
  }

  void unpack_signs(Range panels, const KBlock& block) {
    const std::int64_t count = panels.end - panels.begin;
    for (std::int64_t first = 0; first < count; first += max_panels) {
      const std::int64_t width = count - first < max_panels ? count - first : max_panels;
      for (std::int64_t p = 0; p < width; ++p) {
        const std::uint32_t* words = product_.b.panel(panels.begin + first + p) + block.word * panel_width;
        std::int8_t* const to = weights(first) + p * step_bytes;
        const std::int64_t k_steps = block.words * steps_of_word;
        Integers total = micro_kernels_.unpack_signs(words, k_steps, width * step_bytes, to);
        if (second_plane_ != nullptr) total = half_sum(total, add_second_plane(words, k_steps, width * step_bytes, to));
        const Integers start = -zero_byte * total;
        starts_[first + p] = block.begins_group ? start : starts_[first + p] + start;
      }
    }
  }

  // Makes weights[..] of a plane's signs the half of their sum with those of the second plane. Returns the sum of each
  // output's signs of that plane.
  Integers add_second_plane(const std::uint32_t* words, std::int64_t k_steps, std::int64_t between,
                            std::int8_t* weights) const {
    using Signs = std::uint8_t __attribute__((vector_size(step_bytes)));
    const std::uint32_t* const second = words + product_.b.panel_words();
    const Integers total =
        micro_kernels_.unpack_signs(second, k_steps, step_bytes, reinterpret_cast<std::int8_t*>(second_plane_));
    for (std::int64_t step = 0; step < k_steps; ++step, weights += between) {
      Signs a, b;
      std::memcpy(&a, weights, sizeof a);
      std::memcpy(&b, second_plane_ + step, sizeof b);
      const Signs sum = a + b;
      const Signs half = (sum >> 1 & 0x7f) | (sum & 0x80);
      std::memcpy(weights, &half, sizeof half);
    }
    return total;
  }

  void multiply(Range rows, Range panels, const KBlock& block) {
    const Parts tiles(rows.end - rows.begin, max_rows);
    const std::int64_t offset = block.word * word_bits;
    const Runs run{&offset, 1, block.words * steps_of_word};
    for (std::int64_t i = 0; i < tiles.count(); ++i) {
      const Range tile = tiles[i];
      const std::int64_t row = tile.begin;  // Clang before 16 gives lambdas no structured bindings
      const int count = static_cast<int>(tile.end - row);
      for (std::int64_t panel = panels.begin; panel < panels.end; panel += max_panels) {
        const int width = static_cast<int>(panels.end - panel < max_panels ? panels.end - panel : max_panels);
        const std::int64_t first = panel - panels.begin;
        const std::int64_t kept = k_blocks_.only_one() ? 0 : row * (panels.end - panels.begin) + first * count;
        Integers* const sums = sums_ + kept;
        micro_kernels_.kernels[width - 1][count - 1](q_ + row * stride_, stride_, run, weights(first),
                                                     !block.begins_group, sums);
        if (!block.ends_group) continue;
        for (int p = 0; p < width; ++p) {
          const Integers start = starts_[first + p];
          add_group(
              product_, Place(rows.begin + row, panel + p, product_.b.n), block, count,
              [&](int r) { return sums[r * width + p] + start; }, [&](int r) { return steps_[row + r]; },
              [&](int r) -> Floats& { return y_[kept + r * width + p]; });
        }
      }
    }
  }

  const W1A8MicroKernels<max_rows, max_panels>& micro_kernels_;
  const W1A8& product_;
  Range rows_;
  Range panels_;
  std::int64_t stride_;  // of q
  KBlocks k_blocks_;
  Parts row_blocks_;
  std::int64_t block_panels_;
  std::int64_t panel_bytes_;  // unpacked, of a K-block
  std::uint8_t* q_;
  float* steps_;
  Integers* weights_;
  Integers* second_plane_;  // unpacked, of a panel; null where there is none
  Integers* starts_;
  Integers* sums_;
  Floats* y_;
};

template <int max_rows, int max_panels>
bool w1a8_macro_kernel(const W1A8MicroKernels<max_rows, max_panels>& micro_kernels, const W1A8& product, Range rows,
                       Range panels) {
  return W1A8MacroKernel<max_rows, max_panels>(micro_kernels, product, rows, panels).run();
}

}  // namespace
}  // namespace proxconnect
