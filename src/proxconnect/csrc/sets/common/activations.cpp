// Activations of layers that stay floats: x times a share of it, between 0 and 1. Every register of floats is read and
// written once, and depends on no other.

#include "interface/activations.h"

#include "sets/common/kernels.h"
#include "sets/common/vector_math.h"

namespace proxconnect::KERNEL_SET {
namespace {

// Each has the share of x, and `least`, below which the share is 0: there x times the share is less than 1e-7 in
// magnitude.

struct Gelu {
  static constexpr float least = -5.5f;

  // Phi(-t) for t from 0 to 5.5 is 1 / (2 p^8), with a polynomial p that is fitted so that t Phi(-t), or Phi(-t) where
  // t < 1, is off by 1.3e-8.
  static RegisterFloats share(RegisterFloats x) {
    const RegisterFloats t = at_most(magnitude(x), -least), t2 = t * t, t4 = t2 * t2;
    const RegisterFloats low = (t * 9.97357325e-2f + 1.0f) + (t * 8.688609e-3f + 4.47598009e-2f) * t2;
    const RegisterFloats middle = (t * 2.65275738e-4f + 8.17622101e-4f) + (t * 1.02358998e-5f + 1.27316047e-5f) * t2;
    const RegisterFloats high = t * 3.17413129e-7f - 1.63499368e-6f;
    const RegisterFloats p = (high * t4 + middle) * t4 + low, p2 = p * p, p4 = p2 * p2;
    const RegisterFloats of_minus_t = 0.5f / (p4 * p4), zero = {};
    return where_below(x, zero, of_minus_t, 1.0f - of_minus_t);
  }
};

struct GeluTanh {
  static constexpr float least = -10.0f;

  // (1 + tanh y) / 2 is 1 / (1 + e^-2y).
  static RegisterFloats share(RegisterFloats x) {
    return 1.0f / (exponential((x * x * -7.1354816273e-2f - 1.5957691216f) * x) + 1.0f);
  }
};

template <typename Function>
RegisterFloats value(RegisterFloats x) {
  const RegisterFloats zero = {};
  return x * where_below(x, broadcast<RegisterFloats>(Function::least), zero, Function::share(x));
}

template <typename Function>
void activate_by(const float* x, float* out, Range elements) {
  std::int64_t i = elements.begin;
  for (; i + register_lanes <= elements.end; i += register_lanes) {
    const RegisterFloats y = value<Function>(register_from(x + i));
    std::memcpy(out + i, &y, sizeof y);
  }
  const auto left = static_cast<std::size_t>(elements.end - i);
  if (left == 0) return;
  RegisterFloats last = {};
  std::memcpy(&last, x + i, left * sizeof(float));
  last = value<Function>(last);
  std::memcpy(out + i, &last, left * sizeof(float));
}

}  // namespace

void activate(const float* x, Activation activation, float* out, Range elements) {
  switch (activation) {
    case Activation::gelu:
      return activate_by<Gelu>(x, out, elements);
    case Activation::gelu_tanh:
      return activate_by<GeluTanh>(x, out, elements);
  }
}

}  // namespace proxconnect::KERNEL_SET
