#include "portable/kernels.h"
#include "shared/w1a8_loop.h"

namespace proxconnect::portable {
namespace {

void tile(const std::uint32_t* q, std::int64_t, const std::uint32_t* panel, std::int64_t, std::int64_t words,
          Integers* sums) {
  Integers sum = {};
  for (std::int64_t word = 0; word < words; ++word, q += 8, panel += panel_width) {
    for (int bit = 0; bit < word_bits; ++bit) {
      const std::int32_t x = static_cast<std::int8_t>(q[bit % 8] >> (bit / 8 * 8));
      for (int j = 0; j < panel_width; ++j) sum[j] += (panel[j] >> bit & 1u) ? x : 0;
    }
  }
  *sums = sum;
}

constexpr W1A8Tiles tiles[] = {{1, tile, tile}};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) { return w1a8_loop(tiles, product, rows, panels); }

}  // namespace proxconnect::portable
