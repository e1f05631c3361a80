// Runs every kernel set over buffers that end exactly where their contract ends, so that an address sanitizer
// sees any byte read or written beyond; checks the results against one-element-at-a-time forms.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>

#include "dispatch.h"

namespace {

using proxconnect::KernelSet;
using proxconnect::packed_width;
using std::int64_t;

int failures = 0;

void expect(bool holds, const char* what, const KernelSet& set, int64_t rows, int64_t columns) {
  if (holds) return;
  std::printf("%s: %s fails for %lld x %lld\n", set.name, what, static_cast<long long>(rows),
              static_cast<long long>(columns));
  ++failures;
}

// Allocated one by one: std::vector may hold spare capacity that a sanitizer cannot tell from the rest.
template <typename T>
std::unique_ptr<T[]> exactly(int64_t count) {
  return std::unique_ptr<T[]>(new T[static_cast<std::size_t>(count)]);
}

bool sign_at(int64_t row, int64_t column) { return (row * 7 + column * column * 3 + column / 5) % 3 != 1; }

bool bit_at(const std::uint8_t* bits, int64_t row, int64_t column, int64_t columns) {
  return (bits[row * packed_width(columns) + column / 8] >> (column % 8)) & 1;
}

void check(const KernelSet& set, int64_t rows, int64_t columns) {
  const int64_t width = packed_width(columns);
  const auto x = exactly<float>(rows * columns);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) x[r * columns + c] = sign_at(r, c) ? 0.25f : -0.25f;
  }

  const auto bits = exactly<std::uint8_t>(rows * width);
  expect(set.pack_signs(x.get(), rows, columns, bits.get()) == -1, "pack_signs finds no NaN", set, rows, columns);
  bool packed = true;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < width * 8; ++c) {
      packed &= bit_at(bits.get(), r, c, columns) == (c < columns && sign_at(r, c));
    }
  }
  expect(packed, "pack_signs", set, rows, columns);

  const auto scale = exactly<float>(rows);
  for (int64_t r = 0; r < rows; ++r) scale[r] = 0.25f;
  const auto weights = exactly<float>(rows * columns);
  set.unpack_weights(bits.get(), scale.get(), rows, columns, weights.get());
  bool unpacked = true;
  for (int64_t i = 0; i < rows * columns; ++i) unpacked &= weights[i] == x[i];
  expect(unpacked, "unpack_weights", set, rows, columns);

  const auto out = exactly<std::int32_t>(rows * rows);
  set.w1a1_matmul(bits.get(), width, bits.get(), width, rows, rows, columns, out.get());
  bool product = true;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < rows; ++j) {
      int64_t sum = 0;
      for (int64_t c = 0; c < columns; ++c) sum += sign_at(i, c) == sign_at(j, c) ? 1 : -1;
      product &= out[i * rows + j] == sum;
    }
  }
  expect(product, "w1a1_matmul", set, rows, columns);

  if (rows * columns > 0) {
    x[rows * columns - 1] = std::numeric_limits<float>::quiet_NaN();
    expect(set.pack_signs(x.get(), rows, columns, bits.get()) == rows * columns - 1, "pack_signs finds the NaN", set,
           rows, columns);
  }
}

}  // namespace

int main() {
  for (const KernelSet* set : proxconnect::kernel_sets()) {
    if (!set->runs_here()) continue;
    for (int64_t rows : {0, 1, 2, 5}) {
      for (int64_t columns = 0; columns < 140; ++columns) check(*set, rows, columns);
      check(*set, rows, 1023);
    }
    std::printf("%s: checked\n", set->name);
  }
  return failures == 0 ? 0 : 1;
}
