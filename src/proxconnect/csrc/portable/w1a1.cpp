#include <bit>

#include "portable/kernels.h"
#include "shared/w1a1_loop.h"
#include "shared/words.h"

namespace proxconnect::portable {
namespace {

void tile(const std::uint8_t* a, std::int64_t, const std::uint32_t* panel, std::int64_t k,
          Integers* sums) {
  const Words words(k);
  std::int32_t differing[panel_width] = {};
  const auto compare = [&](std::uint32_t word) {
    for (int j = 0; j < panel_width; ++j) differing[j] += std::popcount(word ^ panel[j]);
    panel += panel_width;
  };
  for (std::int64_t w = 0; w < words.full; ++w) compare(word_at(a, w));
  if (words.rest) compare(words.last(a));
  // Equal signs add one, differing signs take one away.
  for (int j = 0; j < panel_width; ++j) (*sums)[j] = static_cast<std::int32_t>(k - 2 * std::int64_t{differing[j]});
}

constexpr W1A1Tile tiles[] = {tile};

}  // namespace

void w1a1_sums(const W1A1<SumsOutput>& product, Range rows, Range panels) { w1a1_loop(tiles, product, rows, panels); }

void w1a1_affine(const W1A1<AffineOutput>& product, Range rows, Range panels) {
  w1a1_loop(tiles, product, rows, panels);
}

void w1a1_signs(const W1A1<SignsOutput>& product, Range rows, Range panels) {
  w1a1_loop(tiles, product, rows, panels);
}

}  // namespace proxconnect::portable
