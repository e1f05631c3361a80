// Vectors of sixteen lanes, one for each output of a panel, in the compilers' own vector types: one register with
// AVX-512, several elsewhere.
//
// All headers of this folder define functions with internal linkage, since each set compiles them with its own flags.
// The linker could otherwise call a function that was compiled for another processor.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "interface/products.h"
#include "sets/common/own.h"

namespace proxconnect {
namespace {

using Floats = float __attribute__((vector_size(panel_width * sizeof(float))));
using Integers = std::int32_t __attribute__((vector_size(panel_width * sizeof(std::int32_t))));

#if defined(__AVX512F__)

inline __mmask16 first_lanes(int width) { return static_cast<__mmask16>(0xffffu >> (panel_width - width)); }

// Loads the first `width` lanes, and zeros into the others.
template <typename Vector, typename Element>
inline Vector load(const Element* from, int width) {
  static_assert(sizeof(Element) == 4);
  return reinterpret_cast<Vector>(_mm512_maskz_loadu_epi32(first_lanes(width), from));
}

// Stores the first `width` lanes.
template <typename Vector, typename Element>
inline void store(const Vector& lanes, Element* to, int width) {
  static_assert(sizeof(Element) == 4);
  _mm512_mask_storeu_epi32(to, first_lanes(width), reinterpret_cast<const __m512i&>(lanes));
}

#else

// Compilers expand a copy of a length that they do not know into a kilobyte of instructions. So there is one of each.
template <typename Vector, typename Element>
[[gnu::noinline]] Vector load_first(const Element* from, int width) {
  Vector lanes = {};
  std::memcpy(&lanes, from, static_cast<std::size_t>(width) * sizeof(Element));
  return lanes;
}

template <typename Vector, typename Element>
[[gnu::noinline]] void store_first(const Vector& lanes, Element* to, int width) {
  std::memcpy(to, &lanes, static_cast<std::size_t>(width) * sizeof(Element));
}

template <typename Vector, typename Element>
inline Vector load(const Element* from, int width) {
  if (width != panel_width) return load_first<Vector>(from, width);
  Vector lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

template <typename Vector, typename Element>
inline void store(const Vector& lanes, Element* to, int width) {
  if (width == panel_width) {
    std::memcpy(to, &lanes, sizeof lanes);
  } else {
    const Vector in_memory = lanes;  // the others may stay in registers
    store_first(in_memory, to, width);
  }
}

#endif

// Vectors of as many lanes as a register holds.
#if defined(__AVX512F__)
constexpr int register_lanes = 16;
#elif defined(__AVX2__)
constexpr int register_lanes = 8;
#else
constexpr int register_lanes = 4;
#endif
using Register = std::int32_t __attribute__((vector_size(register_lanes * sizeof(std::int32_t))));
using RegisterFloats = float __attribute__((vector_size(register_lanes * sizeof(float))));

[[gnu::always_inline]] inline RegisterFloats register_from(const float* from) {
  RegisterFloats lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

// Returns the register that begins at lane j.
[[gnu::always_inline]] inline RegisterFloats part_of(const Floats& lanes, int j) {
  return register_from(reinterpret_cast<const float*>(&lanes) + j);
}
[[gnu::always_inline]] inline Register part_of(const Integers& lanes, int j) {
  Register part;
  std::memcpy(&part, reinterpret_cast<const std::int32_t*>(&lanes) + j, sizeof part);
  return part;
}

// Returns x where holds(a, b), y elsewhere, register by register: gcc compares longer vectors lane by lane.
template <typename Holds>
[[gnu::always_inline]] inline Floats chosen(const Holds& holds, const Floats& a, const Floats& b, const Floats& x,
                                            const Floats& y) {
#if defined(__AVX512F__)
  return holds(a, b) ? x : y;
#else
  Floats all;
  for (std::size_t at = 0; at < sizeof all; at += sizeof(RegisterFloats)) {
    const auto part = [&](const Floats& of) {
      RegisterFloats lanes;
      std::memcpy(&lanes, reinterpret_cast<const char*>(&of) + at, sizeof lanes);
      return lanes;
    };
    const RegisterFloats lanes = holds(part(a), part(b)) ? part(x) : part(y);
    std::memcpy(reinterpret_cast<char*>(&all) + at, &lanes, sizeof lanes);
  }
  return all;
#endif
}

// Returns x where a < b, y elsewhere and where one is NaN.
inline Floats where_below(const Floats& a, const Floats& b, const Floats& x, const Floats& y) {
  return chosen([](const auto& left, const auto& right) { return left < right; }, a, b, x, y);
}

// Does that for vectors that a register holds.
template <typename Lanes>
[[gnu::always_inline]] inline Lanes where_below(const Lanes& a, const Lanes& b, const Lanes& x, const Lanes& y) {
  return a < b ? x : y;
}

// Returns x where a <= b, y elsewhere and where one is NaN.
inline Floats where_at_most(const Floats& a, const Floats& b, const Floats& x, const Floats& y) {
  return chosen([](const auto& left, const auto& right) { return left <= right; }, a, b, x, y);
}

// Returns x where a == b, y elsewhere and where one is NaN.
inline Floats where_equal(const Floats& a, const Floats& b, const Floats& x, const Floats& y) {
  return chosen([](const auto& left, const auto& right) { return left == right; }, a, b, x, y);
}

// Returns a * b + c, rounded once.
inline Floats multiply_add(const Floats& a, const Floats& b, const Floats& c) {
#if defined(__AVX512F__)
  return reinterpret_cast<Floats>(_mm512_fmadd_ps(reinterpret_cast<const __m512&>(a), reinterpret_cast<const __m512&>(b),
                                                  reinterpret_cast<const __m512&>(c)));
#else
  Floats sum;
#if defined(__FMA__)
  for (int half = 0; half < 2; ++half) {
    reinterpret_cast<__m256*>(&sum)[half] =
        _mm256_fmadd_ps(reinterpret_cast<const __m256*>(&a)[half], reinterpret_cast<const __m256*>(&b)[half],
                        reinterpret_cast<const __m256*>(&c)[half]);
  }
#else
  for (int lane = 0; lane < panel_width; ++lane) sum[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
#endif
  return sum;
#endif
}

inline Floats to_floats(const Integers& lanes) { return __builtin_convertvector(lanes, Floats); }
inline Floats to_floats(const Floats& lanes) { return lanes; }

// Returns -1 in the lanes whose bit is set, 0 in the others.
inline Integers mask_of_bits(unsigned bits) {
  constexpr Integers lane_bits = {1 << 0, 1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                                  1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
  return (static_cast<int>(bits) & lane_bits) != 0;
}

// Returns the bits j for which a[j] >= b[j].
inline unsigned bits_at_least(const Integers& a, const Integers& b) {
#if defined(__AVX512F__)
  return _mm512_cmpge_epi32_mask(reinterpret_cast<const __m512i&>(a), reinterpret_cast<const __m512i&>(b));
#elif defined(__AVX2__)
  unsigned less[2];
  for (int half = 0; half < 2; ++half) {
    const __m256i a_half = reinterpret_cast<const __m256i*>(&a)[half];
    const __m256i b_half = reinterpret_cast<const __m256i*>(&b)[half];
    less[half] = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(b_half, a_half))));
  }
  return 0xffffu & ~(less[0] | less[1] << 8);
#elif defined(__ARM_NEON)
  int32x4_t x[4], y[4];
  std::memcpy(x, &a, sizeof a);
  std::memcpy(y, &b, sizeof b);
  const auto byte = [&](int i) -> unsigned {
    const uint16x8_t lanes = vcombine_u16(vmovn_u32(vcgeq_s32(x[i], y[i])), vmovn_u32(vcgeq_s32(x[i + 1], y[i + 1])));
    return vaddv_u8(vand_u8(vmovn_u16(lanes), vcreate_u8(0x8040201008040201)));
  };
  return byte(0) | byte(2) << 8;
#else
  unsigned bits = 0;
  for (int lane = 0; lane < panel_width; ++lane) bits |= static_cast<unsigned>(a[lane] >= b[lane]) << lane;
  return bits;
#endif
}

// Returns the bits j for which not x[j] < 0: set for both zeros and NaN.
inline unsigned bits_not_negative(const Floats& x) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(reinterpret_cast<const __m512&>(x), _mm512_setzero_ps(), _CMP_NLT_UQ);
#elif defined(__AVX2__)
  const auto half = [&](int i) {
    const __m256 lanes = reinterpret_cast<const __m256*>(&x)[i];
    return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(lanes, _mm256_setzero_ps(), _CMP_NLT_UQ)));
  };
  return half(0) | half(1) << 8;
#else
  return bits_at_least(reinterpret_cast<Integers>(where_below(x, Floats{}, Floats{} - 1.0f, Floats{})), Integers{});
#endif
}

}  // namespace
}  // namespace proxconnect
