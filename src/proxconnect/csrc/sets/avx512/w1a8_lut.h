#pragma once

#include "interface/products.h"

namespace proxconnect::avx512 {

// Inputs of which four add up to at most a byte: they take half as many tables.
constexpr std::int32_t most_in_a_byte = 63;

bool w1a8_look_up(const W1A8& product, Range rows, Range panels);

}  // namespace proxconnect::avx512
