// Checks of the sizes that callers give, before anything is computed from them or allocated.
#pragma once

#include <stdexcept>

#include "interface/attention.h"
#include "interface/convolutions.h"
#include "interface/decoding.h"

namespace proxconnect {

// Reports sizes that nothing has, whose products 64 bits do not hold, or that ask for more memory than they are worth.
class SizeError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// Each throws a SizeError. Sums and products, by small numbers, of what they accept do not overflow.
void check_matrix(std::int64_t rows, std::int64_t columns);
void check_product(std::int64_t m, const Panels& b, std::int64_t most_planes = 1);
void check_group(std::int64_t columns, std::int64_t group, std::int64_t multiple_of);
void check_greatest(std::int64_t greatest);
void check_planes(std::int64_t count, std::int64_t channels, std::int64_t pixels);
void check_attention(const Attention& attention);
void check_token_attention(const TokenAttention& attention);
void check_weight(const ConvPanels& b);
void check_convolution(const SignImages& a, const ConvPanels& b, const Geometry& at);
void check_convolution(const W1A8Conv& conv, std::int64_t threads);
void check_convolution(const W1A32Conv& conv);

}  // namespace proxconnect
