// Packs the signs of pixels whose channels lie in planes.

#include <cstring>

#include "sets/common/kernels.h"
#include "sets/common/lanes.h"

namespace proxconnect::KERNEL_SET {

bool pack_planes(const float* x, std::int64_t stride, std::int64_t channels, std::int64_t pixels,
                 std::uint8_t* bits) {
  const std::int64_t width = packed_width(channels);
  Integers nan = {};
  for (std::int64_t pixel = 0; pixel < pixels; pixel += panel_width) {
    const int count = static_cast<int>(pixels - pixel < panel_width ? pixels - pixel : panel_width);
    for (std::int64_t first = 0; first < channels; first += word_bits) {
      const std::int64_t last = channels - first < word_bits ? channels : first + word_bits;
      const float* from = x + first * stride + pixel;
      Integers words = {};
      for (std::int64_t c = first; c < last; ++c, from += stride) {
        const auto values = load<Floats>(from, count);
        const Integers bit = Integers{} + static_cast<std::int32_t>(std::uint32_t{1} << (c - first));
        words |= reinterpret_cast<Integers>(where_at_most(Floats{}, values, reinterpret_cast<Floats>(bit), Floats{}));
        nan |= reinterpret_cast<Integers>(where_equal(values, values, Floats{}, Floats{} + 1.0f));
      }
      std::uint8_t* to = bits + pixel * width + first / 8;
      const auto bytes = static_cast<std::size_t>(packed_width(last - first));
      for (int i = 0; i < count; ++i, to += width) {
        const std::int32_t word = words[i];
        if (bytes == sizeof word) {
          std::memcpy(to, &word, sizeof word);
        } else {
          std::memcpy(to, &word, bytes);
        }
      }
    }
  }
  for (int lane = 0; lane < panel_width; ++lane) {
    if (nan[lane]) return true;
  }
  return false;
}

}  // namespace proxconnect::KERNEL_SET
