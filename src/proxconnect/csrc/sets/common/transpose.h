// Transposition of square blocks of floats in registers.
#pragma once

#include <utility>

#include "interface/products.h"
#include "sets/common/shuffle.h"

namespace proxconnect {
namespace {

// A typedef, as gcc 12 drops the attribute of an alias whose size is not known yet.
template <int lanes>
struct VectorOf {
  typedef float Type __attribute__((vector_size(lanes * sizeof(float))));
};
template <int lanes>
using Vector = typename VectorOf<lanes>::Type;

// Swaps the two blocks of distance x distance that are off the diagonal of each square of 2 x 2 such blocks.
template <int distance, int lanes, int... lane>
inline void swap_blocks(Vector<lanes>& upper, Vector<lanes>& lower, std::integer_sequence<int, lane...>) {
  const Vector<lanes> turned =
      shuffled<(lane & distance ? lanes + lane - distance : lane)...>(upper, lower);
  lower = shuffled<(lane & distance ? lanes + lane : lane + distance)...>(upper, lower);
  upper = turned;
}

// Makes rows[i][j] what rows[j][i] was.
template <int lanes, int distance = 1>
inline void transpose(Vector<lanes> (&rows)[lanes]) {
  if constexpr (distance < lanes) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      if ((i & distance) == 0) {
        swap_blocks<distance, lanes>(rows[i], rows[i + distance], std::make_integer_sequence<int, lanes>());
      }
    }
    transpose<lanes, distance * 2>(rows);
  }
}

}  // namespace
}  // namespace proxconnect
