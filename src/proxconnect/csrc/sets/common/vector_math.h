// Mathematical functions of sixteen lanes, or of a register's. Without fused multiply-adds they give every set the same bits. Polynomials
// are summed by pairs: Horner's rule would wait for each of its steps.
#pragma once

#include "sets/common/lanes.h"

namespace proxconnect {
namespace {

// The integers of the same lanes.
template <typename Lanes>
using IntegersOf = decltype(Lanes{} < Lanes{});

template <typename Lanes = Floats>
inline Lanes broadcast(float value) {
  return value - Lanes{};
}
template <typename Lanes>
inline Lanes magnitude(Lanes x) {
  return reinterpret_cast<Lanes>(reinterpret_cast<IntegersOf<Lanes>>(x) & 0x7fffffff);
}
template <typename Lanes>
inline Lanes at_least(Lanes x, float low) {
  return where_below(x, broadcast<Lanes>(low), broadcast<Lanes>(low), x);
}
template <typename Lanes>
inline Lanes at_most(Lanes x, float high) {
  return where_below(broadcast<Lanes>(high), x, broadcast<Lanes>(high), x);
}
template <typename Lanes>
inline Lanes clipped(Lanes x, float low, float high) {
  return at_most(at_least(x, low), high);
}

// Adding it leaves the nearest integer in the low bits of the sum.
constexpr float rounding = 12582912.0f;  // 1.5 * 2^23

// Returns 2^n e^r, with n the integer in the low bits of `shifted` and |r| at most half of log 2.
template <typename Lanes>
inline Lanes power_of_two_times_exponential(Lanes shifted, Lanes r) {
  using Bits = IntegersOf<Lanes>;
  const Lanes z = r * r;
  const Lanes low = (r * 1.6666665459e-1f + 5.0000001201e-1f) + (r * 8.3334519073e-3f + 4.1665795894e-2f) * z;
  const Lanes high = r * 1.9875691500e-4f + 1.3981999507e-3f;
  const Lanes y = (low + high * (z * z)) * z + r + 1.0f;
  return reinterpret_cast<Lanes>(reinterpret_cast<Bits>(y) + (reinterpret_cast<Bits>(shifted) << 23));
}

// Returns e^x for x from -87 to 88, beyond which it is that of the bound.
template <typename Lanes>
inline Lanes exponential(Lanes x) {
  x = clipped(x, -87.0f, 88.0f);
  const Lanes shifted = x * 1.44269504f + rounding;
  const Lanes n = shifted - rounding;
  const Lanes r = (x - n * 0.693359375f) - n * -2.12194440e-4f;  // log 2 in two parts; n times the first is exact
  return power_of_two_times_exponential(shifted, r);
}

// Returns x^exponent for normal positive x where the result is normal too: the exponential of the exponent times the
// logarithm to base 2. That is the logarithm of x's mantissa, from sqrt(1/2) to sqrt(2), plus its power of two.
inline Floats power(Floats x, float exponent) {
  constexpr std::int32_t half = 0x3f3504f3;  // sqrt(1/2)
  const Integers offset = reinterpret_cast<Integers>(x) - half;
  const Floats m = reinterpret_cast<Floats>((offset & 0x007fffff) + half) - 1.0f;
  const Floats z = m * m, z2 = z * z;
  const Floats low = (m * -2.4999993993e-1f + 3.3333331174e-1f) + (m * -1.6668057665e-1f + 2.0000714765e-1f) * z;
  const Floats high = (m * -1.2420140846e-1f + 1.4249322787e-1f) + (m * -1.1514610310e-1f + 1.1676998740e-1f) * z;
  const Floats y = (low + (high + z2 * 7.0376836292e-2f) * z2) * (m * z) - z * 0.5f;
  const Floats binary = ((m + y) * 1.44269504f + to_floats(offset >> 23)) * exponent;
  const Floats shifted = binary + rounding;
  return power_of_two_times_exponential(shifted, (binary - (shifted - rounding)) * 0.693147182f);
}

// Returns 1 - tanh x for x >= 0.
inline Floats tanh_below_one(Floats x) { return 2.0f / (exponential(x + x) + 1.0f); }

// Returns tanh x: around 0 by its series, so that small values keep their relative precision.
inline Floats hyperbolic_tangent(Floats x) {
  const Floats size = magnitude(x);
  const Floats z = x * x;
  Floats y = z * -5.70498872745e-3f + 2.06390887954e-2f;
  y = y * z - 5.37397155531e-2f;
  y = y * z + 1.33314422036e-1f;
  y = y * z - 3.33332819422e-1f;
  const Floats small = y * z * x + x;
  const Floats large = 1.0f - tanh_below_one(size);
  return where_below(size, broadcast(0.625f), small, where_below(x, Floats{}, -large, large));
}

// Returns the logistic function of x <= 0.
inline Floats logistic(Floats x) {
  const Floats e = exponential(x);
  return e / (1.0f + e);
}

}  // namespace
}  // namespace proxconnect
