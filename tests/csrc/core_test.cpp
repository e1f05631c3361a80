// Runs every kernel set over arrays that end exactly where their contract ends, and checks the results against
// forms that take one element at a time.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "dispatch.h"
#include "guarded.h"
#include "products.h"

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

  unpack_weights({bits.get(), nullptr, scale.get(), columns, columns + 1}, rows, weights.get(), 1);
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

// A 3 x 2 convolution with stride and padding, of one group of channels, over an image in either layout.
void check_convolution(int64_t height, int64_t width, int64_t channels, int64_t n, bool channels_last) {
  const Operands at(channels, n, height * width);
  const int64_t taps = 6;
  const Guarded<std::uint32_t> words(panels_of(n) * panel_width * taps * words_of(channels));
  for (int64_t i = 0; i < words.size(); ++i) words[i] = 0;
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < taps * channels; ++i) {
      const int64_t word = i / channels * words_of(channels) + i % channels / word_bits;
      std::uint32_t& place = words[(j / panel_width * taps * words_of(channels) + word) * panel_width + j % panel_width];
      if (sign_at(j, i) > 0) place |= 1u << i % channels % word_bits;
    }
  }
  const ConvAxis vertical{height, (height - 1) / 2 + 1, 3, 2, 1, 1};
  const ConvAxis horizontal{width, width + 1, 2, 1, 1, 1};
  const int64_t pixels = vertical.output * horizontal.output;
  const Guarded<float> y(pixels * n), zeros(n);
  for (int64_t j = 0; j < n; ++j) zeros[j] = 0.0f;

  W1A32Conv product{};
  product.x = {at.x.get(), 1, channels, height, width, 0, height * width, width, 1};
  if (channels_last) product.x = {at.x.get(), 1, channels, height, width, 0, 1, width * channels, channels};
  product.b.words = words.get();
  product.b.n = n;
  product.b.channels = channels;
  product.b.groups = 1;
  product.b.kernel_y = 3;
  product.b.kernel_x = 2;
  product.vertical = vertical;
  product.horizontal = horizontal;
  product.output = {y.get(), at.scale.get(), zeros.get(), nullptr, nullptr};
  multiply(product, 1);

  bool holds = true;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0.0f;
      for (int64_t i = 0; i < taps * channels; ++i) {
        const int64_t row = pixel / horizontal.output * 2 + i / channels / 2 - 1;
        const int64_t column = pixel % horizontal.output + i / channels % 2 - 1;
        if (row < 0 || row >= height || column < 0 || column >= width) continue;
        const int64_t c = i % channels;
        const int64_t place = channels_last ? (row * width + column) * channels + c
                                            : (c * height + row) * width + column;
        sum += at.x[place] * static_cast<float>(sign_at(j, i));
      }
      holds &= y[pixel * n + j] == sum * at.scale[j];
    }
  }
  expect(holds, channels_last ? "w1a32_conv, channels last" : "w1a32_conv", height * width, n, channels);
}

}  // namespace

int main() {
  for (const KernelSet* set : kernel_sets()) {
    if (!use_kernels(set->name)) continue;
    current = set->name;
    for (int64_t columns = 0; columns < 140; ++columns) check_packing(columns % 4, columns);
    for (int64_t m : {0, 1, 2, 3, 5, 13}) {
      for (int64_t n : {1, 15, 16, 17, 49}) {
        for (int64_t k : {0, 1, 7, 31, 33, 64, 100, 159, 161, 325}) check_products(m, n, k);
      }
    }
    for (int64_t channels : {1, 5, 16, 37}) {
      for (int64_t n : {1, 16, 33}) {
        for (int64_t width : {1, 7, 16, 21}) {
          check_convolution(5, width, channels, n, false);
          check_convolution(5, width, channels, n, true);
        }
      }
    }
    std::printf("%s: checked\n", current);
  }
  return failures == 0 ? 0 : 1;
}
