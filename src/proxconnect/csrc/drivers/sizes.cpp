// Checks of sizes, in arithmetic that refuses to overflow.

#include "drivers/sizes.h"

#include <algorithm>
#include <string>

namespace proxconnect {
namespace {

// A size, or a sum or product of sizes, that lies from 0 to 2^56.
class Size {
 public:
  Size(std::int64_t value) : value_(value) {
    if (value >= 0 && value <= most) return;
    throw SizeError("a size, or a product of sizes, is " + std::to_string(value) + "; expected 0 to 2^56");
  }

  friend Size operator+(Size a, Size b) { return Size(a.value_ + b.value_); }
  friend Size operator*(Size a, Size b) {
    std::int64_t product;
    if (__builtin_mul_overflow(a.value_, b.value_, &product)) {
      throw SizeError("sizes " + std::to_string(a.value_) + " and " + std::to_string(b.value_) +
                      " have a product that 64 bits do not hold");
    }
    return product;
  }

  std::int64_t value() const { return value_; }

 private:
  static constexpr std::int64_t most = std::int64_t{1} << 56;

  std::int64_t value_;
};

[[noreturn]] void refuse(const char* name, std::int64_t value, const std::string& expected) {
  throw SizeError(std::string(name) + " is " + std::to_string(value) + "; expected " + expected);
}

// Refuses a call's working memory, in bytes, that is out of proportion to what its images and outputs take. Only a
// hostile geometry has so much padding.
void check_memory(Size bytes, Size held) {
  constexpr std::int64_t always = std::int64_t{1} << 28;
  constexpr std::int64_t times = 64;
  if (bytes.value() <= always || bytes.value() <= (held * times).value()) return;
  throw SizeError("a convolution would take " + std::to_string(bytes.value()) + " bytes of working memory for " +
                  std::to_string(held.value()) + " bytes of images and outputs; expected at most " +
                  std::to_string(times) + " times as many: use less padding or a smaller dilation");
}

// The sizes of a convolution along one axis, once its geometry is known to be one.
struct AxisSizes {
  Size padded, reach, output;

  explicit AxisSizes(const ConvAxis& axis) : padded(axis.size), reach(1), output(0) {
    if (axis.stride < 1) refuse("stride", axis.stride, "at least 1");
    if (axis.padding < 0) refuse("padding", axis.padding, "at least 0");
    if (axis.dilation < 1) refuse("dilation", axis.dilation, "at least 1");
    padded = Size(axis.size) + Size(axis.padding) * 2;
    reach = Size(axis.dilation) * (axis.taps - 1) + 1;
    output = axis.outputs();
  }
};

struct ConvolutionSizes {
  AxisSizes y, x;
  Size outputs;  // of all images
  Size held;     // bytes of images and outputs

  ConvolutionSizes(std::int64_t count, Size pixel_bytes, Size output_bytes, const ConvPanels& b, const Geometry& at)
      : y(at.y),
        x(at.x),
        outputs(Size(count) * y.output * x.output * b.n),
        held(Size(count) * at.y.size * at.x.size * pixel_bytes + outputs * output_bytes) {
    outputs * b.taps() * b.group_channels();  // the work
  }

  Size padded() const { return y.padded * x.padded; }
};

Size plane_floats(std::int64_t channels, const ConvolutionSizes& sizes, const Geometry& at) {
  const auto length = [](const AxisSizes& size, const ConvAxis& axis) {
    return size.output + size.reach.value() / axis.stride;
  };
  return (Size(channels) + 1) * at.y.phases() * at.x.phases() * length(sizes.y, at.y) * length(sizes.x, at.x) +
         panel_width;
}

}  // namespace

void check_matrix(std::int64_t rows, std::int64_t columns) { Size(rows) * columns; }

void check_product(std::int64_t m, const Panels& b, std::int64_t most_planes) {
  if (b.planes < 1 || b.planes > most_planes) refuse("planes", b.planes, "1 to " + std::to_string(most_planes));
  check_matrix(m, b.k);
  check_matrix(b.n, b.k);
  Size(m) * b.n * b.k;
}

void check_group(std::int64_t columns, std::int64_t group, std::int64_t multiple_of) {
  if (group < 1 || group % multiple_of) refuse("group", group, "a multiple of " + std::to_string(multiple_of));
  Size(columns) + group;
}

void check_attention(const Attention& attention) {
  const auto check = [](const char* name, std::int64_t value, std::int64_t most) {
    if (value < 1 || value > most) refuse(name, value, "1 to " + std::to_string(most));
  };
  check("keys", attention.keys, most_attention_keys);
  check("features", attention.features, most_attention_features);
  check("outputs", attention.outputs, most_attention_features);
  Size(attention.batches) * attention.heads * attention.queries * attention.keys *
      (attention.features + attention.outputs);
}

void check_token_attention(const TokenAttention& attention) {
  if (attention.tokens < 1) refuse("tokens", attention.tokens, "at least 1");
  if (attention.features < 0 || attention.features % 2) refuse("features", attention.features, "an even number");
  Size(attention.texts) * attention.key_heads * attention.queries * attention.tokens * attention.features * 2;
}

void check_greatest(std::int64_t greatest) {
  if (greatest < 1 || greatest > 127) refuse("greatest", greatest, "1 to 127");
}

void check_planes(std::int64_t count, std::int64_t channels, std::int64_t pixels) { Size(count) * channels * pixels; }

void check_weight(const ConvPanels& b) {
  if (b.groups < 1) refuse("groups", b.groups, "at least 1");
  if (b.n < 0 || b.n % b.groups) refuse("n", b.n, "a multiple of the groups");
  if (b.channels < 0 || b.channels % b.groups) refuse("channels", b.channels, "a multiple of the groups");
  if (b.kernel_y < 1) refuse("kernel_y", b.kernel_y, "at least 1");
  if (b.kernel_x < 1) refuse("kernel_x", b.kernel_x, "at least 1");
  const Size outputs = (Size(b.n) + Size(b.groups) * panel_width) * 4;
  outputs * (Size(b.kernel_y) + 1) * (Size(b.kernel_x) + 1) * (Size(b.channels) + word_bits);
}

void check_convolution(const SignImages& a, const ConvPanels& b, const Geometry& at) {
  check_weight(b);
  const ConvolutionSizes sizes(a.count, packed_width(b.channels), 1, b, at);
  const Size lines = (sizes.y.output + sizes.x.output) * sizeof(Range);
  check_memory(sizes.padded() * b.groups * b.channel_words() * 4 + lines, sizes.held);
}

void check_convolution(const W1A8Conv& conv, std::int64_t threads) {
  const ConvPanels& b = conv.b;
  check_weight(b);
  const ConvolutionSizes sizes(conv.x.count, Size(b.channels) * 4, 4, b, conv.geometry);
  const std::int64_t images_at_once = std::max<std::int64_t>(std::min(conv.x.count, threads), 1);
  check_memory(sizes.padded() * conv.pixel_bytes() * images_at_once, sizes.held);
}

void check_convolution(const W1A32Conv& conv) {
  const ConvPanels& b = conv.b;
  check_weight(b);
  const ConvolutionSizes sizes(conv.x.count, Size(b.channels) * 4, 4, b, conv.geometry);
  sizes.y.reach * sizes.x.padded * (Size(b.channels) + 5);  // tables
  check_memory(plane_floats(b.channels, sizes, conv.geometry) * sizeof(float), sizes.held);
}

}  // namespace proxconnect
