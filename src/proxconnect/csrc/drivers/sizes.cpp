#include "drivers/sizes.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "drivers/conv.h"

namespace proxconnect {
namespace {

// A size, or a sum or product of sizes, that is known to be one.
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

// Working memory of a call, in bytes, for images and outputs of `held`. Only padding that nothing but a hostile
// geometry has asks for more than several times as much as those take.
void check_memory(Size bytes, Size held) {
  constexpr std::int64_t always = std::int64_t{1} << 28;
  constexpr std::int64_t times = 64;
  if (bytes.value() <= always || bytes.value() <= (held * times).value()) return;
  throw SizeError("a convolution would take " + std::to_string(bytes.value()) + " bytes of working memory for " +
                  std::to_string(held.value()) + " bytes of images and outputs; expected at most " +
                  std::to_string(times) + " times as many: use less padding or a smaller dilation");
}

// The sizes of a convolution along one axis.
struct Axis {
  Size padded, reach, output;

  Axis(std::int64_t size, std::int64_t taps, std::int64_t stride, std::int64_t padding, std::int64_t dilation)
      : padded(size), reach(1), output(0) {
    if (stride < 1) refuse("stride", stride, "at least 1");
    if (padding < 0) refuse("padding", padding, "at least 0");
    if (dilation < 1) refuse("dilation", dilation, "at least 1");
    padded = Size(size) + Size(padding) * 2;
    reach = Size(dilation) * (taps - 1) + 1;
    output = output_size(size, taps, stride, padding, dilation);
  }
};

struct Convolution {
  Axis y, x;
  Size outputs;  // of all images
  Size held;     // bytes of images and outputs

  Convolution(std::int64_t count, std::int64_t height, std::int64_t width, Size pixel_bytes, Size output_bytes,
              const ConvPanels& b, const Geometry& at)
      : y(height, b.kernel_y, at.stride_y, at.padding_y, at.dilation_y),
        x(width, b.kernel_x, at.stride_x, at.padding_x, at.dilation_x),
        outputs(Size(count) * y.output * x.output * b.n),
        held(Size(count) * height * width * pixel_bytes + outputs * output_bytes) {
    outputs * b.taps() * b.group_channels();  // the work
  }

  Size padded() const { return y.padded * x.padded; }
};

Size plane_floats(std::int64_t channels, const Axis& y, const Axis& x, const ConvPanels& b, const Geometry& at) {
  const auto length = [](const Axis& axis, std::int64_t stride) { return axis.output + axis.reach.value() / stride; };
  const auto phases = [](std::int64_t taps, std::int64_t stride, std::int64_t dilation) {
    return std::min(taps, stride / std::gcd(stride, dilation));
  };
  return (Size(channels) + 1) * phases(b.kernel_y, at.stride_y, at.dilation_y) *
             phases(b.kernel_x, at.stride_x, at.dilation_x) * length(y, at.stride_y) * length(x, at.stride_x) +
         panel_width;
}

}  // namespace

void check_matrix(std::int64_t rows, std::int64_t columns) { Size(rows) * columns; }

void check_product(std::int64_t m, std::int64_t n, std::int64_t k) {
  check_matrix(m, k);
  check_matrix(n, k);
  Size(m) * n * k;
}

void check_group(std::int64_t columns, std::int64_t group, std::int64_t multiple_of) {
  if (group < 1 || group % multiple_of) refuse("group", group, "a multiple of " + std::to_string(multiple_of));
  Size(columns) + group;
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
  const Convolution sizes(a.count, a.height, a.width, packed_width(b.channels), 1, b, at);
  const Size lines = (sizes.y.output + sizes.x.output) * sizeof(Range);
  check_memory(sizes.padded() * b.groups * b.channel_words() * 4 + lines, sizes.held);
}

void check_convolution(const W1A8Conv& conv, std::int64_t threads) {
  const ConvPanels& b = conv.b;
  check_weight(b);
  const Convolution sizes(conv.x.count, conv.x.height, conv.x.width, Size(b.channels) * 4, 4, b, conv.geometry);
  const std::int64_t together = std::max<std::int64_t>(std::min(conv.x.count, threads), 1);
  check_memory(sizes.padded() * conv.pixel_bytes() * together, sizes.held);
}

void check_convolution(const W1A32Conv& conv) {
  const ConvPanels& b = conv.b;
  check_weight(b);
  const Convolution sizes(conv.x.count, conv.x.height, conv.x.width, Size(b.channels) * 4, 4, b, conv.geometry);
  sizes.y.reach * sizes.x.padded * (Size(b.channels) + 5);  // tables
  check_memory(plane_floats(b.channels, sizes.y, sizes.x, b, conv.geometry) * sizeof(float), sizes.held);
}

}  // namespace proxconnect
