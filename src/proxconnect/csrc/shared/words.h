// Reading rows of bits as words, and never a byte that is not the row's.
#pragma once

#include <cstdint>
#include <cstring>

#include "core.h"

namespace proxconnect {
namespace {

inline std::uint32_t word_at(const std::uint8_t* row, std::int64_t word) {
  std::uint32_t value;
  std::memcpy(&value, row + word * 4, sizeof value);
  return value;
}

// The words of a row that are there in full, and the bytes of one more.
struct Words {
  std::int64_t full;
  std::size_t rest;

  explicit Words(std::int64_t k)
      : full(packed_width(k) / 4), rest(static_cast<std::size_t>(packed_width(k) % 4)) {}

  std::uint32_t last(const std::uint8_t* row) const {
    std::uint32_t value = 0;
    std::memcpy(&value, row + full * 4, rest);
    return value;
  }
};

}  // namespace
}  // namespace proxconnect
