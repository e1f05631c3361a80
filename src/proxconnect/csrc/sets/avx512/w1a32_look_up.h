// W1A32 tables in two registers: how they are made, and how vpermi2ps looks up 16 outputs in them at once.
#pragma once

#include <immintrin.h>

#include "sets/common/w1a32_tables.h"

namespace proxconnect::avx512 {
namespace {

// Returns 1 where bit `i` of the lane's number is set, -1 elsewhere: multiplying by it is exact.
template <int i>
inline __m512 signs() {
  struct Lanes {
    alignas(64) float sign[16];
  };
  static constexpr Lanes lanes = [] {
    Lanes filled{};
    for (unsigned lane = 0; lane < 16; ++lane) filled.sign[lane] = lane >> i & 1u ? 1.0f : -1.0f;
    return filled;
  }();
  return _mm512_load_ps(lanes.sign);
}

inline void make_table(const float* x, float* table) {
  const __m512 two = _mm512_fmadd_ps(signs<1>(), _mm512_set1_ps(x[1]), _mm512_mul_ps(signs<0>(), _mm512_set1_ps(x[0])));
  const __m512 three = _mm512_fmadd_ps(signs<2>(), _mm512_set1_ps(x[2]), two);
  const __m512 fourth = _mm512_set1_ps(x[3]);
  const __m512 fifth = _mm512_set1_ps(x[4]);
  _mm512_store_ps(table, _mm512_add_ps(three, _mm512_fmsub_ps(signs<3>(), fourth, fifth)));
  _mm512_store_ps(table + 16, _mm512_add_ps(three, _mm512_fmadd_ps(signs<3>(), fourth, fifth)));
}

// Looks entries up. From the intrinsic, gcc 12 reads the table from memory for every look-up.
inline __m512 look_up(__m512i entry, __m512 low, __m512 high) {
  __m512 found = _mm512_castsi512_ps(entry);
  asm("vpermi2ps %2, %1, %0" : "+v"(found) : "v"(low), "v"(high));
  return found;
}

}  // namespace
}  // namespace proxconnect::avx512
