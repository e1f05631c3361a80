// The number of threads that a call is worth.
#pragma once

#include <algorithm>
#include <cstdint>

namespace proxconnect {

// Below this many products of a sign and an input, handing work to another thread costs more than it saves.
constexpr std::int64_t least_work = std::int64_t{1} << 20;

// Packing the sign of one float, which comes from memory, takes as long as so many products.
constexpr std::int64_t products_of_sign = 32;

inline std::int64_t useful_threads(std::int64_t threads, std::int64_t work, std::int64_t least = least_work) {
  return std::clamp<std::int64_t>(work / least, 1, std::max<std::int64_t>(threads, 1));
}

}  // namespace proxconnect
