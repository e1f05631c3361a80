// Vectors whose lanes are those of two others in a new order.
#pragma once

namespace proxconnect {
namespace {

// Returns the lanes at these places of a followed by b. The compilers' own functions differ; gcc 11 lacks Clang's.
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
