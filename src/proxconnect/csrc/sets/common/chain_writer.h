// The writer of chains: it takes the sums or floats of some rows and a panel through all steps.
#pragma once

#include "interface/chain.h"
#include "sets/common/outputs.h"

namespace proxconnect {
namespace {

class ChainWriter {
 public:
  ChainWriter(const ChainOutput& output, const Place& at) : output_(output), at_(at) {}

  // Finishes the rows from `row` on.
  template <typename Vector, int rows>
  [[gnu::always_inline]] void write(std::int64_t row, const Vector (&from)[rows]) const {
    if (at_.width == panel_width) {
      write_outputs(row, from, own::Constant<panel_width>());
    } else {
      write_outputs(row, from, at_.width);
    }
  }

 private:
  // `width` is a constant where that is the whole panel's: loads and stores of fewer lanes are calls, around which
  // nothing stays in registers. A function of its own: the chain's registers are no concern of the micro-kernel's.
  template <typename Vector, int rows, typename Width>
  [[gnu::noinline]] void write_outputs(std::int64_t row, const Vector (&from)[rows], Width width) const {
    Floats y[rows];
    each<rows>([&](int r) { y[r] = to_floats(from[r]); });
    const std::int64_t first = (at_.row + row) * at_.n + at_.j;
    const float* constants = output_.constants + at_.j;
    for (const StepKind* step = output_.steps; step < output_.steps + output_.count; ++step) {
      const auto constant = [&] {
        const Floats values = load<Floats>(constants, width);
        constants += at_.n;
        return values;
      };
      take_step(*step, y, constant, output_.residual + first, width);
    }
    if (output_.floats) {
      each<rows>([&](int r) { store(y[r], output_.floats + first + r * at_.n, width); });
    }
    if (output_.signs) {
      each<rows>([&](int r) { write_signs(row + r, y[r]); });
    }
  }

  // Calls work(r) for every row, without a loop that would keep the rows in memory.
  template <int rows, typename Work>
  [[gnu::always_inline]] static void each(const Work& work) {
    static_assert(rows <= 8);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) work(r);
  }

  template <int rows, typename Constant, typename Width>
  [[gnu::always_inline]] void take_step(StepKind kind, Floats (&y)[rows], const Constant& constant,
                                        const float* residual, Width width) const {
    switch (kind) {
      case StepKind::multiply: {
        const Floats c = constant();
        return each<rows>([&](int r) { y[r] *= c; });
      }
      case StepKind::add: {
        const Floats c = constant();
        return each<rows>([&](int r) { y[r] += c; });
      }
      case StepKind::divide: {
        const Floats c = constant();
        return each<rows>([&](int r) { y[r] /= c; });
      }
      case StepKind::multiply_add: {
        const Floats c = constant(), d = constant();
        return each<rows>([&](int r) { y[r] = multiply_add(y[r], c, d); });
      }
      case StepKind::add_residual:
        return each<rows>([&](int r) { y[r] += load<Floats>(residual + r * at_.n, width); });
      case StepKind::prelu: {
        const Floats c = constant();
        return each<rows>([&](int r) { y[r] = where_below(Floats{}, y[r], y[r], y[r] * c); });
      }
      case StepKind::at_least: {
        const Floats c = constant();
        return each<rows>([&](int r) { y[r] = where_below(y[r], c, c, y[r]); });
      }
      case StepKind::at_most: {
        const Floats c = constant();
        return each<rows>([&](int r) { y[r] = where_below(c, y[r], c, y[r]); });
      }
    }
  }

  void write_signs(std::int64_t row, const Floats& y) const {
    std::uint8_t* to = output_.signs + (at_.row + row) * packed_width(at_.n) + at_.j / 8;
    const unsigned bits = bits_not_negative(y) & (0xffffu >> (panel_width - at_.width));
    to[0] = static_cast<std::uint8_t>(bits);
    if (at_.width > 8) to[1] = static_cast<std::uint8_t>(bits >> 8);
  }

  ChainOutput output_;
  Place at_;
};

inline ChainWriter writer(const ChainOutput& output, const Place& at) { return {output, at}; }

}  // namespace
}  // namespace proxconnect
