// Asks for rows of floats ahead of their use.
#pragma once

#include <cstdint>

#include "interface/products.h"

namespace proxconnect {
namespace {

constexpr int rows_ahead = 8;

// Asks for a row of floats while memory takes to answer: rows are too far apart for processors to do so on their own.
inline void prefetch_row(const float* row, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += panel_width) __builtin_prefetch(row + i);
}

}  // namespace
}  // namespace proxconnect
