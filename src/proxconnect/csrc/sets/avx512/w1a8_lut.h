// W1A8 by look-up tables, for rows that are few or have few bits.
#pragma once

#include "interface/products.h"

namespace proxconnect::avx512 {

// The greatest inputs of which four add up to at most a byte: they take half as many tables.
constexpr std::int32_t max_in_a_byte = 63;

bool w1a8_lut(const W1A8& product, Range rows, Range panels);

}  // namespace proxconnect::avx512
