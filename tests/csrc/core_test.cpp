// Runs every kernel set over arrays that end exactly where their contract ends, and checks the results against
// forms that take one element at a time.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "convolutions.h"
#include "dispatch.h"
#include "guarded.h"
#include "products.h"
#include "w1a8_conv.h"

namespace {

using namespace proxconnect;
using std::int64_t;

int failures = 0;
const char* current = "";

void expect(bool holds, const char* what, int64_t m, int64_t n, int64_t k) {
  if (holds) return;
  std::printf("%s: %s fails for m = %lld, n = %lld, k = %lld\n", current, what, static_cast<long long>(m),
              static_cast<long long>(n), static_cast<long long>(k));
  ++failures;
}

// Small integers over 8, so that float32 sums are exact in any order; neither zero nor symmetric.
float value_at(int64_t row, int64_t column) {
  const auto mixed = static_cast<int>((row * 7919 + column * 104729 + column * column * 31) % 15);
  return static_cast<float>(mixed < 7 ? mixed - 7 : mixed - 6) / 8.0f;
}

int sign_at(int64_t row, int64_t column) { return value_at(row, column) >= 0.0f ? 1 : -1; }

void fill(const Guarded<float>& x, int64_t rows, int64_t columns, int64_t first_row) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) x[r * columns + c] = value_at(first_row + r, c);
  }
}

bool bit_at(const std::uint8_t* bits, int64_t row, int64_t column, int64_t columns) {
  return (bits[row * packed_width(columns) + column / 8] >> (column % 8)) & 1;
}

void check_packing(int64_t rows, int64_t columns) {
  const Guarded<float> x(rows * columns), weights(rows * columns), scale(rows);
  const Guarded<std::uint8_t> bits(rows * packed_width(columns));
  fill(x, rows, columns, 0);
  for (int64_t r = 0; r < rows; ++r) scale[r] = 0.5f;

  expect(pack_signs(x.get(), rows, columns, bits.get(), 1) == -1, "pack_signs finds no NaN", rows, 0, columns);
  bool packed = true;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < packed_width(columns) * 8; ++c) {
      packed &= bit_at(bits.get(), r, c, columns) == (c < columns && sign_at(r, c) > 0);
    }
  }
  expect(packed, "pack_signs", rows, 0, columns);

  unpack_weights(bits.get(), scale.get(), rows, columns, weights.get(), 1);
  bool unpacked = true;
  for (int64_t i = 0; i < rows * columns; ++i) {
    unpacked &= weights[i] == 0.5f * static_cast<float>(sign_at(i / columns, i % columns));
  }
  expect(unpacked, "unpack_weights", rows, 0, columns);

  if (rows * columns > 0) {
    const int64_t last = rows * columns - 1;
    x[last] = std::numeric_limits<float>::quiet_NaN();
    expect(pack_signs(x.get(), rows, columns, bits.get(), 1) == last, "pack_signs finds the NaN", rows, 0, columns);
  }
}

// The operands of a product of m rows with n outputs, and its outputs.
struct Operands {
  int64_t m, n, k;
  Guarded<float> x, scale, bias, residual, slope, y;
  Guarded<std::uint8_t> a, flip, signs;
  Guarded<std::int32_t> threshold, sums;
  Guarded<std::uint32_t> words;

  Operands(int64_t rows, int64_t outputs, int64_t inputs)
      : m(rows), n(outputs), k(inputs), x(m * k), scale(n), bias(n), residual(m * n), slope(n), y(m * n),
        a(m * packed_width(k)), flip(packed_width(n)), signs(m * packed_width(n)), threshold(n), sums(m * n),
        words(panels_of(n) * panel_width * words_of(k)) {
    const Guarded<float> weight(n * k);
    const Guarded<std::uint8_t> bits(n * packed_width(k));
    fill(x, m, k, 0);
    fill(weight, n, k, m);
    fill(residual, m, n, 3);
    pack_signs(x.get(), m, k, a.get(), 1);
    pack_signs(weight.get(), n, k, bits.get(), 1);
    make_panels({bits.get(), packed_width(k), n}, k, words.get());
    for (int64_t j = 0; j < n; ++j) {
      scale[j] = value_at(j, 1);
      bias[j] = value_at(j, 2);
      slope[j] = 0.5f;
      threshold[j] = static_cast<std::int32_t>(j % 5) - 2;
    }
    for (int64_t i = 0; i < flip.size(); ++i) flip[i] = 0x5a;
  }

  Panels panels() const { return {words.get(), n, k}; }
  SignRows sign_rows() const { return {a.get(), packed_width(k), m}; }
  FloatRows float_rows() const { return {x.get(), k, m}; }
  AffineOutput affine() const { return {y.get(), scale.get(), bias.get(), residual.get(), slope.get()}; }

  float finished(float scaled, int64_t i, int64_t j) const {
    const float value = scaled + bias[j] + residual[i * n + j];
    return value < 0.0f ? value * slope[j] : value;
  }

  template <typename Expected>
  void expect_y(const Expected& expected, const char* what) const {
    bool holds = true;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        const float wanted = expected(i, j);
        holds &= std::abs(y[i * n + j] - wanted) <= 1e-4f * (1.0f + std::abs(wanted));
      }
    }
    expect(holds, what, m, n, k);
  }
};

void check_products(int64_t m, int64_t n, int64_t k) {
  const Operands at(m, n, k);
  const Guarded<std::int32_t> sums(m * n);
  const Guarded<float> float_sums(m * n);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      sums[i * n + j] = 0;
      float_sums[i * n + j] = 0.0f;
      for (int64_t c = 0; c < k; ++c) {
        sums[i * n + j] += sign_at(i, c) * sign_at(m + j, c);
        float_sums[i * n + j] += value_at(i, c) * static_cast<float>(sign_at(m + j, c));
      }
    }
  }

  multiply(W1A1<SumsOutput>{at.sign_rows(), at.panels(), false, {at.sums.get()}}, 1);
  expect(m * n == 0 || std::memcmp(at.sums.get(), sums.get(), static_cast<std::size_t>(m * n) * 4) == 0, "w1a1_sums",
         m, n, k);

  multiply(W1A1<AffineOutput>{at.sign_rows(), at.panels(), false, at.affine()}, 1);
  at.expect_y(
      [&](int64_t i, int64_t j) { return at.finished(static_cast<float>(sums[i * n + j]) * at.scale[j], i, j); },
      "w1a1_affine");

  multiply(W1A1<SignsOutput>{
               at.sign_rows(), at.panels(), true, {at.signs.get(), at.threshold.get(), at.flip.get()}},
           1);
  bool decided = true;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < packed_width(n) * 8; ++j) {
      const bool bit = j < n && (static_cast<std::int8_t>(sums[i * n + j]) >= at.threshold[j]) !=
                                    bit_at(at.flip.get(), 0, j, n);
      decided &= bit_at(at.signs.get(), i, j, n) == bit;
    }
  }
  expect(decided, "w1a1_signs", m, n, k);

  const auto scaled = [&](int64_t i, int64_t j) { return at.finished(float_sums[i * n + j] * at.scale[j], i, j); };
  multiply(W1A32{at.float_rows(), at.panels(), at.affine()}, 1);
  at.expect_y(scaled, "w1a32");

  // Seven eighths at most: 8 bits hold eighths exactly where the greatest is 127 of them, so make it so.
  for (int64_t i = 0; i < at.x.size(); ++i) at.x[i] *= 8.0f;
  for (int64_t i = 0; k > 0 && i < m; ++i) {
    const float was = at.x[i * k];
    at.x[i * k] = 127.0f;
    for (int64_t j = 0; j < n; ++j) {
      float_sums[i * n + j] = 8.0f * float_sums[i * n + j] +
                              (127.0f - was) * static_cast<float>(sign_at(m + j, 0));
    }
  }
  expect(multiply(W1A8{at.float_rows(), at.panels(), words_of(k + 1) * word_bits, at.affine()}, 1), "w1a8 is finite",
         m, n, k);
  at.expect_y(scaled, "w1a8");
}

// Images of eighths, of which the greatest is 127, so that a step is exactly one eighth.
void check_w1a8_convolution(bool channels_last, int64_t channels, int64_t groups, int64_t n) {
  const int64_t height = 5, width = 6, taps = 9, group_channels = channels / groups;
  const Guarded<float> x(channels * height * width), scale(n), bias(n), y(3 * 3 * n);
  const auto at = [&](int64_t c, int64_t row, int64_t column) {
    return channels_last ? (row * width + column) * channels + c : (c * height + row) * width + column;
  };
  for (int64_t i = 0; i < x.size(); ++i) x[i] = value_at(1, i);
  x[at(0, 2, 2)] = 127.0f / 8.0f;
  for (int64_t j = 0; j < n; ++j) {
    scale[j] = value_at(j, 1);
    bias[j] = value_at(j, 2);
  }
  const int64_t bytes = packed_width(group_channels * taps);
  const Guarded<std::uint8_t> bits(n * bytes);
  const Guarded<float> weight(n * group_channels * taps);
  fill(weight, n, group_channels * taps, 2);
  pack_signs(weight.get(), n, group_channels * taps, bits.get(), 1);
  ConvPanels panels{nullptr, nullptr, n, channels, 3, 3, groups};
  const Guarded<std::uint32_t> words(panels.panels() * panels.panel_words());
  const Guarded<std::int32_t> tap_sums(panels.panels() * 4 * 4 * panel_width);
  panels.words = words.get();
  panels.tap_sums = tap_sums.get();
  make_conv_panels(bits.get(), bytes, panels, words.get(), tap_sums.get());

  const int64_t pixels = height * width;
  const Images images = channels_last ? Images{x.get(), 1, channels, height, width, x.size(), 1, width * channels, channels}
                                      : Images{x.get(), 1, channels, height, width, x.size(), pixels, width, 1};
  const Geometry geometry{2, 2, 1, 1, 1, 1, 0};
  expect(convolve(W1A8Conv{images, panels, geometry, {y.get(), scale.get(), bias.get(), nullptr, nullptr}}, 1),
         "w1a8_conv is finite", channels, n, groups);
  bool holds = true;
  for (int64_t i = 0; i < y.size(); ++i) {
    const int64_t j = i % n, column = i / n % 3, row = i / n / 3;
    float sum = 0.0f;
    for (int64_t k = 0; k < group_channels * taps; ++k) {
      const int64_t u = row * 2 - 1 + k % taps / 3, v = column * 2 - 1 + k % 3;
      if (u < 0 || v < 0 || u >= height || v >= width) continue;
      const int64_t c = j / (n / groups) * group_channels + k / taps;
      sum += x[at(c, u, v)] * static_cast<float>(sign_at(2 + j, k));
    }
    holds &= std::abs(y[i] - (sum * scale[j] + bias[j])) <= 1e-4f * (1.0f + std::abs(sum));
  }
  expect(holds, "w1a8_conv", channels, n, groups);
}

}  // namespace

int main() {
  for (const KernelSet* set : kernel_sets()) {
    if (!use_kernels(set->name)) continue;
    current = set->name;
    for (int64_t columns = 0; columns < 140; ++columns) check_packing(columns % 4, columns);
    for (int64_t m : {0, 1, 2, 3, 9, 13}) {
      for (int64_t n : {1, 15, 16, 17, 49}) {
        for (int64_t k : {0, 1, 7, 31, 33, 64, 100, 159, 161, 325}) check_products(m, n, k);
      }
    }
    for (const bool channels_last : {false, true}) {
      for (const int64_t groups : {1, 2, 3}) {
        for (const int64_t channels : {1, 3, 4, 35}) {
          for (const int64_t n : {1, 16, 35}) check_w1a8_convolution(channels_last, channels * groups, groups, n * groups);
        }
      }
    }
    std::printf("%s: checked\n", current);
  }
  return failures == 0 ? 0 : 1;
}
