// Small functions that sets use in place of the standard library's. Of a library function that several sources compile,
// the linker keeps one for all, with the instructions of whichever set it came from, and other processors may lack
// those. These have internal linkage, as all functions of a set have but those in its table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>

namespace proxconnect {
namespace {
namespace own {

template <typename T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}

template <typename T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}

template <typename T>
constexpr T clamp(T x, T low, T high) {
  return x < low ? low : high < x ? high : x;
}

template <typename To, typename From>
constexpr To bit_cast(const From& from) {
  return __builtin_bit_cast(To, from);
}

constexpr int popcount(std::uint32_t word) { return __builtin_popcount(word); }

// Returns the end of the filled elements.
template <typename T>
inline T* fill_n(T* to, std::int64_t count, const T& value) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = value;
  return to + count;
}

template <typename T>
inline void copy_n(const T* from, std::int64_t count, T* to) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (count > 0) std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
}

// An integer as a type.
template <int value>
struct Constant {
  constexpr operator int() const { return value; }
};

// An array whose elements start with any content. It begins where a line of the caches does: what is read in whole lines,
// as rows of tiles are, would lie in two lines otherwise.
template <typename T>
class Array {
 public:
  Array() = default;
  explicit Array(std::int64_t size) : elements_(allocate(size)), size_(size) {}
  ~Array() { ::operator delete[](elements_, cache_line); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  // Makes room for at least so many elements. Their content is lost if that is more than before.
  void make_room(std::int64_t size) {
    if (size <= size_) return;
    ::operator delete[](elements_, cache_line);
    elements_ = nullptr;
    size_ = 0;
    elements_ = allocate(size);
    size_ = size;
  }

  T* data() const { return elements_; }
  std::int64_t size() const { return size_; }

 private:
  static constexpr std::align_val_t cache_line{64};

  static T* allocate(std::int64_t size) {
    static_assert(std::is_trivially_default_constructible_v<T> && std::is_trivially_destructible_v<T>);
    return static_cast<T*>(::operator new[](static_cast<std::size_t>(size) * sizeof(T), cache_line));
  }

  T* elements_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace own
}  // namespace
}  // namespace proxconnect
