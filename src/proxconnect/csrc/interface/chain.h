// Chains: elementwise steps on floats, in the order and with the roundings of the operators that they stand for.
#pragma once

#include <cstdint>

namespace proxconnect {

// What a step makes of y, the float of row i and output j. c and d are the step's constants. Every step rounds once.
enum class StepKind : std::int32_t {
  multiply,      // y * c[j]
  add,           // y + c[j]
  divide,        // y / c[j]
  multiply_add,  // y * c[j] + d[j]
  add_residual,  // y + residual[i, j]
  prelu,         // y where y > 0, y * c[j] elsewhere
  at_least,      // c[j] where y < c[j], y elsewhere
  at_most,       // c[j] where y > c[j], y elsewhere
};

// How many constants a step has for each output.
[[gnu::always_inline]] constexpr std::int64_t constants_of(StepKind kind) {
  return kind == StepKind::multiply_add ? 2 : kind == StepKind::add_residual ? 0 : 1;
}

// The steps from a float of row i and output j to what is written. Both outputs are dense.
struct ChainOutput {
  float* floats;           // [m, n] = y after the last step, or null
  std::uint8_t* signs;     // [m, packed_width(n)], bit j = not y < 0 after the last step, so set for a NaN; or null
  const StepKind* steps;
  std::int64_t count;      // of steps
  const float* constants;  // [constants of all steps in their order, n]
  const float* residual;   // [m, n]; null where no step adds one
};

}  // namespace proxconnect
