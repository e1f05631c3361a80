// Reads the scales of groups of inputs, which are floats of half or single precision.
#pragma once

#include "sets/common/outputs.h"
#include "sets/common/quantize.h"

namespace proxconnect {
namespace {

// Returns half-precision floats in single precision, which is exact.
inline RegisterFloats floats_of_halves(const std::uint16_t* from) {
#if defined(__AVX512F__)
  return reinterpret_cast<RegisterFloats>(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
#elif defined(__AVX2__)
  return reinterpret_cast<RegisterFloats>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#elif defined(__ARM_NEON)
  const float32x4_t four = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from)));
  RegisterFloats floats;
  std::memcpy(&floats, &four, sizeof floats);
  return floats;
#else
  using Halves = std::uint16_t __attribute__((vector_size(register_lanes * 2)));
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  constexpr int mantissa = 13, bias = 112 << 23;  // bits of a float more than of a half; the difference of exponents
  const Register bits = __builtin_convertvector(halves, Register);
  const Register magnitude = bits & 0x7fff;
  const Register more = (magnitude >= 0x7c00) & bias;  // infinities have the greatest exponent
  const RegisterFloats below_normal = __builtin_convertvector(magnitude, RegisterFloats) * 0x1p-24f;
  Register found;
  std::memcpy(&found, &below_normal, sizeof found);
  const Register is_below = magnitude < 0x400;
  found = (found & is_below) | (((magnitude << mantissa) + bias + more) & ~is_below) | (bits & 0x8000) << 16;
  RegisterFloats floats;
  std::memcpy(&floats, &found, sizeof floats);
  return floats;
#endif
}

// The scales of a panel, one group after the other.
class PanelScales {
 public:
  template <typename Product>
  PanelScales(const Product& product, const Place& at)
      : half_(product.output.scale.half),
        width_(at.width),
        first_(static_cast<const char*>(product.output.scale.values) +
               at.j * groups_of(product.b.k, product.group) * (half_ ? 2 : 4)) {}

  // Returns the scales of all outputs of the panel.
  Floats operator[](std::int64_t group) const {
    if (!half_) return load<Floats>(floats() + group * panel_width, width_);
    std::uint16_t some[panel_width] = {};
    const std::uint16_t* from = halves() + group * panel_width;
    if (width_ < panel_width) {
      std::memcpy(some, from, static_cast<std::size_t>(width_) * sizeof some[0]);
      from = some;
    }
    Floats scales;
    for (int j = 0; j < panel_width; j += register_lanes) {
      const RegisterFloats part = floats_of_halves(from + j);
      std::memcpy(reinterpret_cast<char*>(&scales) + j * sizeof(float), &part, sizeof part);
    }
    return scales;
  }

  // Returns those of a whole panel from `output` on.
  RegisterFloats from(std::int64_t group, int output) const {
    const std::int64_t at = group * panel_width + output;
    if (half_) return floats_of_halves(halves() + at);
    RegisterFloats scales;
    std::memcpy(&scales, floats() + at, sizeof scales);
    return scales;
  }

  // Asks for the scales of `panels` panels while memory takes to answer.
  void prefetch(std::int64_t panels, std::int64_t groups) const {
    constexpr std::int64_t line = 64;
    const std::int64_t bytes = panels * groups * panel_width * (half_ ? 2 : 4);
    for (std::int64_t byte = 0; byte < bytes; byte += line) __builtin_prefetch(first_ + byte);
  }

 private:
  const std::uint16_t* halves() const { return reinterpret_cast<const std::uint16_t*>(first_); }
  const float* floats() const { return reinterpret_cast<const float*>(first_); }

  bool half_;
  int width_;
  const char* first_;
};

}  // namespace
}  // namespace proxconnect
