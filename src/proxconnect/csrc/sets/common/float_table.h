// Look-up of sixteen floats in a table (FloatTable in interface/maps.h).
#pragma once

#include "interface/maps.h"
#include "sets/common/transpose.h"
#include "sets/common/vector_math.h"

namespace proxconnect {
namespace {

using Cell = float __attribute__((vector_size(4 * sizeof(float))));

inline Cell cell_at(const float* cells, std::int64_t number) {
  Cell cell;
  std::memcpy(&cell, cells + 4 * number, sizeof cell);
  return cell;
}

// The coefficients a, b, c and d of sixteen cells, whose places are counted in floats. A cell is loaded whole and the lanes are transposed, in groups of four:
// it takes half the time of four gathers.
struct Cubics {
  Floats a, b, c, d;
};

inline Cubics cubics_at(const float* cells, const Integers& places) {
  Cubics found;
  alignas(sizeof places) std::uint32_t place[panel_width];
  std::memcpy(place, &places, sizeof places);
#if defined(__AVX512F__)
  __asm__("" : "+m"(place));  // else GCC takes the lanes from the register, one by one
  const auto cell = [&](int lane) { return _mm_loadu_ps(cells + place[lane]); };
  const auto every_fourth = [&](int lane) {
    __m512 of = _mm512_castps128_ps512(cell(lane));
    of = _mm512_insertf32x4(of, cell(lane + 4), 1);
    of = _mm512_insertf32x4(of, cell(lane + 8), 2);
    return _mm512_insertf32x4(of, cell(lane + 12), 3);
  };
  const __m512 first = every_fourth(0), second = every_fourth(1), third = every_fourth(2), fourth = every_fourth(3);
  const auto pairs = [](const __m512& x, const __m512& y, bool upper) {
    return _mm512_castps_pd(upper ? _mm512_unpackhi_ps(x, y) : _mm512_unpacklo_ps(x, y));
  };
  const __m512d ab = pairs(first, second, false), ab2 = pairs(third, fourth, false);
  const __m512d cd = pairs(first, second, true), cd2 = pairs(third, fourth, true);
  found.a = reinterpret_cast<Floats>(_mm512_unpacklo_pd(ab, ab2));
  found.b = reinterpret_cast<Floats>(_mm512_unpackhi_pd(ab, ab2));
  found.c = reinterpret_cast<Floats>(_mm512_unpacklo_pd(cd, cd2));
  found.d = reinterpret_cast<Floats>(_mm512_unpackhi_pd(cd, cd2));
#else
  for (int group = 0; group < panel_width; group += 4) {
    Vector<4> rows[4];
    for (int lane = 0; lane < 4; ++lane) std::memcpy(&rows[lane], cells + place[group + lane], sizeof rows[lane]);
    transpose<4>(rows);
    Floats* const coefficients[] = {&found.a, &found.b, &found.c, &found.d};
    for (int k = 0; k < 4; ++k) std::memcpy(reinterpret_cast<float*>(coefficients[k]) + group, &rows[k], sizeof rows[k]);
  }
#endif
  return found;
}

// Sets the lanes of y whose bit in `split` is set to what their split cells give.
[[gnu::noinline]] inline void look_up_split(const float* cells, const Integers& bits, unsigned split, Floats& y) {
  for (int lane = 0; lane < panel_width; ++lane) {
    if ((split >> lane & 1) == 0) continue;
    int shift = table_root_shift;
    Cell cell = cell_at(cells, static_cast<std::uint32_t>(bits[lane]) >> shift);
    std::int32_t first = 0;
    while (cell[0] != cell[0] && (first = own::bit_cast<std::int32_t>(static_cast<float>(cell[1]))) != 0) {
      shift -= table_split_bits;
      cell = cell_at(cells, first + ((bits[lane] >> shift) & ((1 << table_split_bits) - 1)));
    }
    const std::int32_t width = 1 << shift;
    const float t = static_cast<float>(bits[lane] & (width - 1)) / static_cast<float>(width) - 0.5f;
    y[lane] = ((cell[3] * t + cell[2]) * t + cell[1]) * t + cell[0];
  }
}

inline Floats look_up(const float* cells, Floats w) {
  constexpr int shift = table_root_shift;
  const Integers bits = reinterpret_cast<Integers>(w);
  const Cubics of = cubics_at(cells, (bits >> (shift - 2)) & (((1 << (32 - shift)) - 1) << 2));
  const Integers from_one_to_two = (bits << (23 - shift) & 0x007fffff) | 0x3f800000;
  const Floats t = reinterpret_cast<Floats>(from_one_to_two) - 1.5f;
  Floats y = ((of.d * t + of.c) * t + of.b) * t + of.a;
#if defined(__AVX512F__)
  const auto a = reinterpret_cast<const __m512&>(of.a);
  const unsigned split = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
#else
  const unsigned split = bits_not_negative(where_equal(of.a, of.a, Floats{} - 1.0f, Floats{}));
#endif
  if (__builtin_expect(split != 0, 0)) look_up_split(cells, bits, split, y);
  return y;
}

}  // namespace
}  // namespace proxconnect
