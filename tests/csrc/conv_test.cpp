// Runs the convolutions of every kernel set over arrays that end exactly where their contract ends, and checks the
// results against a form that takes one tap at a time.

#include <cstdio>

#include "convolutions.h"
#include "dispatch.h"
#include "guarded.h"

namespace {

using namespace proxconnect;
using std::int64_t;

int failures = 0;

bool random_bit() {
  static std::uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return state >> 31;
}

void fill(const Guarded<std::uint8_t>& bits, int64_t rows, int64_t columns) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < columns; ++c) {
      bits[row * packed_width(columns) + c / 8] |= static_cast<std::uint8_t>(random_bit() << (c % 8));
    }
  }
}

int sign_at(const std::uint8_t* row, int64_t i) { return row[i / 8] >> (i % 8) & 1 ? 1 : -1; }

void check(int64_t channels, int64_t n, int64_t groups, int64_t kernel, const Geometry& at, int64_t threads) {
  constexpr int64_t images = 2, height = 5, width = 11;
  const int64_t taps = kernel * kernel, group_channels = channels / groups, k = group_channels * taps;
  const int64_t out_y = output_size(height, kernel, at.stride_y, at.padding_y, at.dilation_y);
  const int64_t out_x = output_size(width, kernel, at.stride_x, at.padding_x, at.dilation_x);
  const int64_t rows = images * out_y * out_x, pixel = packed_width(channels);

  const Guarded<std::uint8_t> a(images * height * width * pixel), bits(n * packed_width(k));
  fill(a, images * height * width, channels);
  fill(bits, n, k);
  ConvPanels b{nullptr, nullptr, n, channels, kernel, kernel, groups};
  const Guarded<std::uint32_t> words(b.panels() * b.panel_words());
  const Guarded<std::int32_t> tap_sums(b.panels() * (kernel + 1) * (kernel + 1) * panel_width);
  make_conv_panels(bits.get(), packed_width(k), b, words.get(), tap_sums.get());
  b.words = words.get();
  b.tap_sums = tap_sums.get();

  const Guarded<std::int32_t> sums(rows * n), threshold(n);
  const Guarded<std::uint8_t> flip(packed_width(n)), signs(rows * packed_width(n));
  const Guarded<float> y(rows * n), scale(n), bias(n), residual(rows * n), slope(n);
  for (int64_t j = 0; j < n; ++j) {
    threshold[j] = static_cast<std::int32_t>(j % 5) - 2;
    scale[j] = 0.5f;
    bias[j] = static_cast<float>(j % 3) - 1.0f;
    slope[j] = 0.25f;
  }
  fill(flip, 1, n);
  const SignImages of{a.get(), images, height, width};
  convolve(W1A1Conv<SumsOutput>{of, b, at, false, {sums.get()}}, threads);
  convolve(W1A1Conv<AffineOutput>{of, b, at, false, {y.get(), scale.get(), bias.get(), residual.get(), slope.get()}},
           threads);
  convolve(W1A1Conv<SignsOutput>{of, b, at, true, {signs.get(), threshold.get(), flip.get()}}, threads);

  bool holds = true;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t image = row / (out_y * out_x), line = row / out_x % out_y, column = row % out_x;
    for (int64_t j = 0; j < n; ++j) {
      int sum = 0;
      for (int64_t c = 0; c < group_channels; ++c) {
        for (int64_t tap = 0; tap < taps; ++tap) {
          const int64_t from_y = line * at.stride_y - at.padding_y + tap / kernel * at.dilation_y;
          const int64_t from_x = column * at.stride_x - at.padding_x + tap % kernel * at.dilation_x;
          const bool inside = 0 <= from_y && from_y < height && 0 <= from_x && from_x < width;
          const std::uint8_t* from = a.get() + ((image * height + from_y) * width + from_x) * pixel;
          const int input = inside ? sign_at(from, j / (n / groups) * group_channels + c) : static_cast<int>(at.fill);
          sum += input * sign_at(bits.get() + j * packed_width(k), c * taps + tap);
        }
      }
      const float value = static_cast<float>(sum) * 0.5f + bias[j];
      const bool up = (static_cast<std::int8_t>(sum) >= threshold[j]) != (sign_at(flip.get(), j) > 0);
      holds &= sums[row * n + j] == sum && y[row * n + j] == (value < 0.0f ? value * 0.25f : value) &&
               (sign_at(signs.get() + row * packed_width(n), j) > 0) == up;
    }
  }
  if (holds) return;
  std::printf("convolution fails for channels = %d, n = %d, groups = %d, kernel = %d, fill = %d\n",
              static_cast<int>(channels), static_cast<int>(n), static_cast<int>(groups), static_cast<int>(kernel),
              static_cast<int>(at.fill));
  ++failures;
}

void check_packing(int64_t channels, int64_t pixels) {
  const Guarded<float> x(2 * channels * pixels);
  for (int64_t i = 0; i < x.size(); ++i) x[i] = random_bit() ? 1.0f : -1.0f;
  const Guarded<std::uint8_t> bits(2 * pixels * packed_width(channels));
  bool holds = !pack_planes(x.get(), 2, channels * pixels, pixels, channels, pixels, bits.get(), 1);
  for (int64_t i = 0; i < 2 * pixels; ++i) {
    const float* pixel = x.get() + i / pixels * channels * pixels + i % pixels;
    for (int64_t c = 0; c < channels; ++c) {
      holds &= sign_at(bits.get() + i * packed_width(channels), c) == (pixel[c * pixels] > 0.0f ? 1 : -1);
    }
  }
  if (holds) return;
  std::printf("pack_planes fails for channels = %d, pixels = %d\n", static_cast<int>(channels),
              static_cast<int>(pixels));
  ++failures;
}

}  // namespace

int main() {
  for (const KernelSet* set : kernel_sets()) {
    if (!use_kernels(set->name)) continue;
    for (const int64_t channels : {1, 8, 31, 32, 40, 96}) {
      for (const int64_t n : {1, 16, 50}) {
        for (const int64_t fill : {0, 1, -1}) {
          check(channels, n, 1, 3, {1, 1, 1, 1, 1, 1, fill}, 1);
          check(channels, n, 1, 2, {2, 3, 2, 0, 2, 3, fill}, 2);
          check(channels * 2, n * 2, 2, 1, {1, 1, 0, 0, 1, 1, fill}, 1);
        }
      }
      for (const int64_t pixels : {1, 16, 19, 300}) check_packing(channels, pixels);
    }
    std::printf("%s: checked\n", set->name);
  }
  return failures == 0 ? 0 : 1;
}
