// Activations of layers that stay floats.
#pragma once

#include <cstdint>

namespace proxconnect {

// Functions of a float x. Minus infinity gives NaN in all of them, as minus infinity times 0 does.
enum class Activation : std::int32_t {
  gelu,       // x Phi(x), with Phi the distribution function of the normal distribution
  gelu_tanh,  // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
};

}  // namespace proxconnect
