// The W1A8 micro-kernel, which a kernel set supplies, and what it multiplies. The signs of some panels are unpacked to
// bytes once; then many rows of bytes are multiplied by them.
#pragma once

#include "sets/common/outputs.h"

namespace proxconnect {
namespace {

// A micro-kernel advances along K by four inputs, the products that a lane adds up in one instruction.
constexpr std::int64_t k_step = 4;
constexpr std::int64_t step_bytes = k_step * panel_width;  // the weights of a panel for a step
constexpr std::int64_t steps_of_word = word_bits / k_step;

// The byte that stands for an input of 0: x86 multiplies unsigned inputs.
#if defined(__AVX2__)
constexpr int zero_byte = 128;
#else
constexpr int zero_byte = 0;
#endif

// The places of a row's inputs: `count` runs of `k_steps` steps, each at an offset from the row's first byte.
struct Runs {
  const std::int64_t* offsets;
  std::int64_t count;
  std::int64_t k_steps;
};

// Writes to sums[r][p], or with `add` adds to it, the bytes of row r times the weights of panel p, for a fixed number of
// rows, `stride` bytes apart, and of panels. Weights are +-1: [runs][k_steps][panels][16][4].
using W1A8MicroKernel = void (*)(const std::uint8_t* q, std::int64_t stride, const Runs& runs,
                                 const std::int8_t* weights, bool add, Integers* sums);

// Unpacks the first `k_steps` steps of a panel's words to bytes, `between` bytes from one step to the next. Returns the
// sum of each output's weights, inputs past the end (all -1) included.
using UnpackSigns = Integers (*)(const std::uint32_t* words, std::int64_t k_steps, std::int64_t between,
                                 std::int8_t* weights);

template <int max_rows, int max_panels>
struct W1A8MicroKernels {
  UnpackSigns unpack_signs;
  W1A8MicroKernel kernels[max_panels][max_rows];  // [panels - 1][rows - 1]
};

// Returns (a + b) / 2, for sums of two planes of signs, which are both even or both odd; a + b might not fit.
template <typename Lanes>
inline Lanes half_sum(const Lanes& a, const Lanes& b) {
  return (a & b) + ((a ^ b) >> 1);
}

// 0 .. size in as few parts of at most `max` as it takes, all about as large: 14 by 12 are 7 and 7.
class Parts {
 public:
  Parts(std::int64_t size, std::int64_t max) : size_(size), count_((size + max - 1) / max) {}

  std::int64_t count() const { return count_; }
  std::int64_t largest() const { return count_ > 0 ? (size_ + count_ - 1) / count_ : 0; }
  Range operator[](std::int64_t i) const { return {size_ * i / count_, size_ * (i + 1) / count_}; }

 private:
  std::int64_t size_;
  std::int64_t count_;
};

}  // namespace
}  // namespace proxconnect
