// Lanes of two vectors in another order.
#pragma once

namespace proxconnect {
namespace {

// The lanes at these places of a and then b. The compilers' own functions differ; gcc 11 does not have that of Clang.
template <int... place, typename Vector>
inline Vector shuffled(const Vector& a, const Vector& b) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, place...);
#else
  using Places = decltype(a < b);
  return __builtin_shuffle(a, b, Places{place...});
#endif
}

}  // namespace
}  // namespace proxconnect
