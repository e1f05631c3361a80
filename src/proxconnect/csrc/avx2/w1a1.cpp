// Carry-save by parities. Of a row and of a panel, word t is first replaced by the exclusive or of all words up to it:
// one exclusive or of the two, p[t], then is the parity of the differing bits so far, which two would cost word by word.
// Of every two changes of a parity one is a fall, so that
//     differing bits = 2 (falls of p) + p[last],
// and the falls at two successive steps exclude each other: (p[0] & ~p[1]) | (p[1] & ~p[2]) has both. In the same way
// the falls are added up by the parity of theirs, and what then falls is counted, by halves of bytes with pshufb.

#include <immintrin.h>

#include <algorithm>
#include <utility>

#include "avx2/kernels.h"
#include "shared/w1a1_loop.h"
#include "shared/w1a8_tiles.h"

namespace proxconnect::avx2 {
namespace {

constexpr int half_width = 8;            // outputs in a register
constexpr std::int64_t bytes_hold = 30;  // times 8 bits, and once more

__m256i broadcast(std::uint32_t word) { return _mm256_set1_epi32(static_cast<int>(word)); }
__m256i load(const std::uint32_t* words) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)); }

__m256i popcount_bytes(__m256i x) {
  const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                          0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(15);
  return _mm256_add_epi8(_mm256_shuffle_epi8(counts, _mm256_and_si256(x, low)),
                         _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
}

// In 16 bits, sums of pairs of bytes times a factor.
__m256i times(__m256i bytes, int factor) {
  return _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(static_cast<char>(factor)));
}

__m256i add_pairs(__m256i sum, __m256i pairs) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

// Where a parity falls from x to y or from y to z.
__m256i falls(__m256i x, __m256i y, __m256i z) {
  return _mm256_or_si256(_mm256_andnot_si256(y, x), _mm256_andnot_si256(z, y));
}

// The sums of one row and one half of a panel, so far.
struct HalfSums {
  __m256i ones = _mm256_setzero_si256();
  __m256i twos = _mm256_setzero_si256();
  __m256i bytes = _mm256_setzero_si256();  // falls of twos
  __m256i sums;

  // Two more words.
  __m256i falls_of_ones(const std::uint8_t* row, const std::uint32_t* panel) {
    const auto parity = [&](int w) {
      return _mm256_xor_si256(broadcast(word_at(row, w)), load(panel + w * panel_width));
    };
    const __m256i first = parity(0), second = parity(1);
    return falls(std::exchange(ones, second), first, second);
  }

  void take_four(const std::uint8_t* row, const std::uint32_t* panel) {
    const __m256i first = _mm256_xor_si256(twos, falls_of_ones(row, panel));
    const __m256i second = _mm256_xor_si256(first, falls_of_ones(row + 8, panel + 2 * panel_width));
    bytes = _mm256_add_epi8(bytes, popcount_bytes(falls(std::exchange(twos, second), first, second)));
  }

  void take_two(const std::uint8_t* row, const std::uint32_t* panel) {
    const __m256i some = falls_of_ones(row, panel);
    bytes = _mm256_add_epi8(bytes, popcount_bytes(_mm256_and_si256(twos, some)));
    twos = _mm256_xor_si256(twos, some);
  }

  void widen() { sums = add_pairs(sums, times(std::exchange(bytes, _mm256_setzero_si256()), -8)); }

  void finish() {
    const __m256i fewer = _mm256_add_epi16(times(popcount_bytes(twos), -4), times(popcount_bytes(ones), -2));
    sums = add_pairs(sums, _mm256_add_epi16(times(bytes, -8), fewer));
  }
};

struct Tile {
  static constexpr int most_rows = 4;

  // Of parities, an even number of words.
  template <int rows>
  [[gnu::always_inline]] static void sums(const std::uint8_t* a, const SignLines& lines,
                                          const std::uint32_t* panel, const Integers* start, Integers* sums) {
#pragma GCC unroll 1
    for (int r = 0; r < rows; ++r) {
      const std::uint8_t* row = a + r * lines.row_stride;
      const std::uint32_t* low = panel;
      HalfSums half[2];
      for (int h = 0; h < 2; ++h) half[h].sums = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(start + r) + h);
      std::int64_t words = lines.run_words;
      while (true) {
        for (std::int64_t steps = std::min(words / 4, bytes_hold); steps > 0; --steps, words -= 4) {
          half[0].take_four(row, low);
          half[1].take_four(row, low + half_width);
          row += 16;
          low += 4 * panel_width;
        }
        if (words < 4) break;
        for (HalfSums& h : half) h.widen();
      }
      for (int h = 0; h < 2; ++h) {
        if (words > 0) half[h].take_two(row, low + h * half_width);
        half[h].finish();
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + r) + h, half[h].sums);
      }
    }
  }
};

// Rows of some lines, [groups, lines, width, words], as parities; words beyond a row's are equal to its last.
void to_parities(const SignLines& a, Range lines, std::int64_t groups, std::int64_t words, std::uint32_t* to) {
  for (std::int64_t group = 0; group < groups; ++group) {
    for (std::int64_t y = lines.begin; y < lines.end; ++y) {
      const std::uint8_t* line = a.bits + group * a.group_stride + y * a.line_stride;
      for (std::int64_t x = 0; x < a.width; ++x, to += words) {
        std::uint32_t parity = 0;
        std::uint32_t* out = to;
        for (std::int64_t run = 0; run < a.runs; ++run) {
          const std::uint8_t* from = line + x * a.row_stride + a.offsets[run];
          for (std::int64_t w = 0; w < a.run_words; ++w) *out++ = parity ^= word_at(from, w);
        }
        while (out < to + words) *out++ = parity;
      }
    }
  }
}

// The words of a panel as parities, then its last up to `count`.
void to_parities(const std::uint32_t* panel, std::int64_t panel_words, std::int64_t count, std::uint32_t* to) {
  __m256i low = _mm256_setzero_si256(), high = low;
  for (std::int64_t word = 0; word < count; ++word, panel += panel_width, to += panel_width) {
    if (word * panel_width < panel_words) {
      low = _mm256_xor_si256(low, load(panel));
      high = _mm256_xor_si256(high, load(panel + half_width));
    }
    _mm256_store_si256(reinterpret_cast<__m256i*>(to), low);
    _mm256_store_si256(reinterpret_cast<__m256i*>(to) + 1, high);
  }
}

template <typename Output>
void w1a1(const W1A1Part<Output>& part, Range panels) {
  constexpr std::int64_t rows_together = 64, panels_bytes = 256 * 1024;  // in the first and second-level cache
  const std::int64_t words = (part.panel_words / panel_width + 1) / 2 * 2;
  const std::int64_t panel_words = words * panel_width;
  const std::int64_t lines_together = 1 + (rows_together - 1) / part.a.width;
  const std::int64_t panels_together = 1 + panels_bytes / (4 * panel_words + 1);
  auto* const rows = scratch<Scratch::inputs, std::uint32_t>(
      part.groups * std::min(lines_together, part.a.lines) * part.a.width * words);
  auto* const parities = reinterpret_cast<std::uint32_t*>(
      scratch<Scratch::weights, Integers>(std::min(panels_together, panels.end - panels.begin) * words));

  W1A1Part<Output> some = part;
  const std::int64_t offset = 0;
  some.words = parities;
  some.panel_words = panel_words;
  for (Range p{panels.begin, 0}; p.begin < panels.end; p.begin = p.end) {
    p.end = std::min(panels.end, p.begin + panels_together);
    for (std::int64_t i = p.begin; i < p.end; ++i) {
      to_parities(part.words + i * part.panel_words, part.panel_words, words,
                  parities + (i - p.begin) * panel_words);
    }
    some.first_panel = p.begin;
    for (Range lines{0, 0}; lines.begin < part.a.lines; lines.begin = lines.end) {
      lines.end = std::min(part.a.lines, lines.begin + lines_together);
      to_parities(part.a, lines, part.groups, words, rows);
      const std::int64_t count = lines.end - lines.begin, row_bytes = words * 4;
      some.a = {reinterpret_cast<const std::uint8_t*>(rows), count, part.a.width, part.a.width * row_bytes,
                row_bytes, count * part.a.width * row_bytes, &offset, 1, words};
      some.first_row = part.first_row + lines.begin * part.a.width;
      if (part.borders.tap_sums) {
        some.borders.y_inside = part.borders.y_inside + lines.begin;
        some.borders.whole_y = {part.borders.whole_y.begin - lines.begin, part.borders.whole_y.end - lines.begin};
      }
      w1a1_loop<Tile>(some, p);
    }
  }
}

}  // namespace

void w1a1_sums(const W1A1Part<SumsOutput>& part, Range panels) { w1a1(part, panels); }
void w1a1_affine(const W1A1Part<AffineOutput>& part, Range panels) { w1a1(part, panels); }
void w1a1_signs(const W1A1Part<SignsOutput>& part, Range panels) { w1a1(part, panels); }

}  // namespace proxconnect::avx2
