// Sums of rows of floats. Their order does not depend on the width of registers.
#pragma once

#include "sets/common/lanes.h"

namespace proxconnect {
namespace {

// Returns how many lanes of a panel there are from i on.
inline int lanes_from(std::int64_t i, std::int64_t end) {
  return static_cast<int>(end - i < panel_width ? end - i : panel_width);
}

// Returns the sum of the lanes, by halves.
inline float sum_of(const Floats& lanes) {
  using Eight = float __attribute__((vector_size(8 * sizeof(float))));
  using Four = float __attribute__((vector_size(4 * sizeof(float))));
  Eight eight[2];
  std::memcpy(eight, &lanes, sizeof lanes);
  const Eight pairs = eight[0] + eight[1];
  Four four[2];
  std::memcpy(four, &pairs, sizeof pairs);
  const Four sums = four[0] + four[1];
  return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

// Returns, by lanes, the sum of value(i, width) for the panels of `size` elements: those from element i on, `width` of
// them.
template <typename Value>
[[gnu::always_inline]] inline Floats lanes_of_panels(std::int64_t size, const Value& value) {
  constexpr int parts = 4;
  Floats sums[parts] = {};
  std::int64_t i = 0;
  for (; i + parts * panel_width <= size; i += parts * panel_width) {
    for (int part = 0; part < parts; ++part) sums[part] += value(i + part * panel_width, panel_width);
  }
  for (int part = 0; i < size; i += panel_width, ++part) sums[part] += value(i, lanes_from(i, size));
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// Returns the sum of all of them.
template <typename Value>
[[gnu::always_inline]] inline float sum_of_panels(std::int64_t size, const Value& value) {
  return sum_of(lanes_of_panels(size, value));
}

}  // namespace
}  // namespace proxconnect
