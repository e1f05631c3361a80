// Writers that turn the sums of rows and a panel into outputs.
#pragma once

#include "sets/common/lanes.h"

namespace proxconnect {
namespace {

// The outputs that sums belong to: rows from `row` on, and j .. j + width of n.
struct Place {
  std::int64_t row;
  std::int64_t j;
  std::int64_t n;
  int width;  // 16, less in the last panel

  Place(std::int64_t first_row, std::int64_t panel, std::int64_t outputs)
      : row(first_row),
        j(panel * panel_width),
        n(outputs),
        width(static_cast<int>(n - j < panel_width ? n - j : panel_width)) {}

  // `left` outputs from `first` on, or a panel's if that is less.
  Place(std::int64_t first_row, std::int64_t first, std::int64_t outputs, std::int64_t left)
      : row(first_row), j(first), n(outputs), width(static_cast<int>(left < panel_width ? left : panel_width)) {}
};

class SumsWriter {
 public:
  SumsWriter(const SumsOutput& output, const Place& at) : out_(output.out + at.row * at.n + at.j), at_(at) {}

  void operator()(std::int64_t r, const Integers& sums) const { store(sums, out_ + r * at_.n, at_.width); }

 private:
  std::int32_t* out_;
  Place at_;
};

// Writes sums that are scaled already.
class ScaledWriter {
 public:
  template <typename Output>
  ScaledWriter(const Output& output, const Place& at)
      : out_(output.out + at.row * at.n + at.j),
        residual_(output.residual ? output.residual + at.row * at.n + at.j : nullptr),
        at_(at),
        bias_(load<Floats>(output.bias + at.j, at.width)),
        has_slope_(output.slope != nullptr) {
    if (has_slope_) slope_ = load<Floats>(output.slope + at.j, at.width);
  }

  // Adds bias and residual to scaled sums, applies the PReLU, and writes.
  void finish(std::int64_t r, Floats y) const {
    y += bias_;
    if (residual_) y += load<Floats>(residual_ + r * at_.n, at_.width);
    if (has_slope_) y = where_below(y, Floats{}, where_equal(slope_, Floats{}, Floats{}, y * slope_), y);
    store(y, out_ + r * at_.n, at_.width);
  }

  // Does that for a whole panel, where part(j) returns a register of scaled sums, those from output j on: compilers
  // keep a longer vector in memory, and wait for it after each step.
  template <typename Part>
  [[gnu::always_inline]] void finish_parts(std::int64_t r, const Part& part) const {
    float* const out = out_ + r * at_.n;
#pragma GCC unroll 4
    for (int j = 0; j < panel_width; j += register_lanes) {
      RegisterFloats y = part(j);
      y += part_of(bias_, j);
      if (residual_) y += register_from(residual_ + r * at_.n + j);
      if (has_slope_) {
        const RegisterFloats zero = {}, slope = part_of(slope_, j);
        const RegisterFloats below = slope == zero ? zero : y * slope;
        y = y < zero ? below : y;
      }
      std::memcpy(out + j, &y, sizeof y);
    }
  }

  // Returns whether there are outputs for all lanes.
  bool whole() const { return at_.width == panel_width; }

  // Returns whether there is neither a residual nor a PReLU.
  bool plain() const { return !residual_ && !has_slope_; }
  void finish_plain(std::int64_t r, const Floats& y) const { store(y + bias_, out_ + r * at_.n, at_.width); }

 private:
  float* out_;
  const float* residual_;
  Place at_;
  Floats bias_;
  Floats slope_ = {};
  bool has_slope_;
};

class AffineWriter : public ScaledWriter {
 public:
  AffineWriter(const AffineOutput& output, const Place& at)
      : ScaledWriter(output, at), scale_(load<Floats>(output.scale + at.j, at.width)) {}

  template <typename Sums>
  void operator()(std::int64_t r, const Sums& sums) const {
    finish(r, to_floats(sums) * scale_);
  }

  void write_plain(std::int64_t r, const Integers& sums) const { finish_plain(r, to_floats(sums) * scale_); }

 private:
  Floats scale_;
};

class SignsWriter {
 public:
  SignsWriter(const SignsOutput& output, const Place& at)
      : stride_(packed_width(at.n)),
        out_(output.out + at.row * stride_ + at.j / 8),
        two_bytes_(at.width > 8),
        there_(0xffffu >> (panel_width - at.width)),
        flip_(output.flip[at.j / 8] | (two_bytes_ ? output.flip[at.j / 8 + 1] << 8 : 0)),
        threshold_(load<Integers>(output.threshold + at.j, at.width)) {}

  void operator()(std::int64_t r, const Integers& sums) const {
    const unsigned bits = (bits_at_least(sums, threshold_) ^ flip_) & there_;
    out_[r * stride_] = static_cast<std::uint8_t>(bits);
    if (two_bytes_) out_[r * stride_ + 1] = static_cast<std::uint8_t>(bits >> 8);
  }

 private:
  std::int64_t stride_;
  std::uint8_t* out_;
  bool two_bytes_;
  unsigned there_;
  unsigned flip_;
  Integers threshold_;
};

inline SumsWriter writer(const SumsOutput& output, const Place& at) { return {output, at}; }
inline AffineWriter writer(const AffineOutput& output, const Place& at) { return {output, at}; }
inline SignsWriter writer(const SignsOutput& output, const Place& at) { return {output, at}; }

}  // namespace
}  // namespace proxconnect
