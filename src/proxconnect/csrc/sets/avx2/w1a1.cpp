// Differing bits looked up by pshufb: a byte of a row chooses a table, in whose halves those of a weight's byte, for
// each of the 16 outputs of a panel, find how many of their four bits differ.

#include <immintrin.h>

#include "sets/common/kernels.h"
#include "sets/common/w1a1_macro_kernel.h"
#include "sets/common/w1a8_micro_kernel.h"

namespace proxconnect::avx2 {
namespace {

constexpr std::int64_t word_bytes = 4;
constexpr std::int64_t table_bytes = 32;     // of one byte of a row; as many hold a byte of 16 weights by halves
constexpr std::int64_t halves_of_word = word_bytes * table_bytes;  // bytes that hold a word of a panel by halves
constexpr std::int64_t bytes_hold = 15;      // words: eight times at most four, each
constexpr std::int64_t counts_hold = 60;     // times what bytes hold, doubled

// of_byte[byte][h][x]: bits in which x differs from half h of the byte.
struct Tables {
  alignas(table_bytes) std::uint8_t of_byte[256][table_bytes];
};
constexpr Tables tables = [] {
  Tables all{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    for (unsigned x = 0; x < 16; ++x) {
      all.of_byte[byte][x] = static_cast<std::uint8_t>(own::popcount((byte & 15) ^ x));
      all.of_byte[byte][16 + x] = static_cast<std::uint8_t>(own::popcount((byte >> 4) ^ x));
    }
  }
  return all;
}();

__m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
void store(void* to, __m256i value) { _mm256_storeu_si256(static_cast<__m256i*>(to), value); }

// Words of some runs, as many as bytes hold, of a row and of the rows `stride` from it.
struct Piece {
  const std::uint8_t* a;
  std::int64_t stride;
  const std::int64_t* offsets;
  std::int64_t runs;
  std::int64_t words;  // of a run
};

// counts[p][r] += bits in which row r and panel p, `panel_bytes` from the one before, differ. Not inlined, as gcc 12
// then keeps the sums in memory.
template <int rows, int panels>
[[gnu::noinline]] void count(const Piece& piece, const std::uint8_t* halves, std::int64_t panel_bytes,
                             __m256i (&counts)[panels][rows]) {
  const std::int64_t stride = piece.stride;
  __m256i sum[panels][rows];
#pragma GCC unroll 2
  for (int p = 0; p < panels; ++p) {
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) sum[p][r] = _mm256_setzero_si256();
  }
  for (std::int64_t run = 0; run < piece.runs; ++run) {
    const std::uint8_t* a = piece.a + piece.offsets[run];
    for (const std::uint8_t* end = a + piece.words * word_bytes; a < end; a += word_bytes) {
#pragma GCC unroll 4
      for (int byte = 0; byte < word_bytes; ++byte, halves += table_bytes) {
        __m256i weights[panels];
#pragma GCC unroll 2
        for (int p = 0; p < panels; ++p) weights[p] = load(halves + p * panel_bytes);
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) {
          const __m256i table = load(tables.of_byte[a[r * stride + byte]]);
#pragma GCC unroll 2
          for (int p = 0; p < panels; ++p) {
            sum[p][r] = _mm256_add_epi8(sum[p][r], _mm256_shuffle_epi8(table, weights[p]));
            asm volatile("" : "+x"(sum[p][r]));  // or gcc 12 adds up later what it found, and spills it until then
          }
        }
      }
    }
  }
#pragma GCC unroll 2
  for (int p = 0; p < panels; ++p) {
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      const __m256i lower = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(sum[p][r]));
      const __m256i upper = _mm256_cvtepu8_epi16(_mm256_extracti128_si256(sum[p][r], 1));
      counts[p][r] = _mm256_add_epi16(counts[p][r], _mm256_add_epi16(lower, upper));
    }
  }
}

struct Tile {
  static constexpr int most_rows = 4;
  static constexpr int most_panels = 2;

  // Of panels by halves of bytes.
  template <int rows, int panels>
  [[gnu::always_inline]] static void sums(const std::uint8_t* a, const SignLines& lines, const std::uint32_t* panel,
                                          std::int64_t panel_words, const Integers* start, Integers* sums) {
    const auto* halves = reinterpret_cast<const std::uint8_t*>(panel);
    const std::int64_t together = own::max<std::int64_t>(bytes_hold / own::max<std::int64_t>(lines.run_words, 1), 1);
    __m256i counts[panels][rows] = {};
    std::int64_t room = counts_hold;
    // Equal signs add one, differing signs take one away.
    const auto subtract = [&] {
      for (int i = 0; i < panels * rows; ++i) {
        const __m256i twice = _mm256_slli_epi16(counts[i / rows][i % rows], 1);
        const auto* from = reinterpret_cast<const __m256i*>(start + i);
        auto* to = reinterpret_cast<__m256i*>(sums + i);
        store(to, _mm256_sub_epi32(load(from), _mm256_cvtepu16_epi32(_mm256_castsi256_si128(twice))));
        store(to + 1, _mm256_sub_epi32(load(from + 1), _mm256_cvtepu16_epi32(_mm256_extracti128_si256(twice, 1))));
      }
    };
    for (std::int64_t run = 0; run < lines.runs; run += together) {
      for (std::int64_t word = 0; word < lines.run_words; word += bytes_hold) {
        if (room == 0) {
          subtract();
          start = sums;
          own::fill_n(counts[0], panels * rows, _mm256_setzero_si256());
          room = counts_hold;
        }
        const Piece piece{a + word * word_bytes, lines.row_stride, lines.offsets + run,
                          own::min(together, lines.runs - run), own::min(bytes_hold, lines.run_words - word)};
        count<rows, panels>(piece, halves, panel_words * word_bytes, counts);
        halves += piece.runs * piece.words * halves_of_word;
        --room;
      }
    }
    subtract();
  }
};

// The words of a panel by halves of bytes.
void to_halves(const std::uint32_t* panel, std::int64_t words, std::uint8_t* to) {
  const __m256i side_by_side = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,  //
                                                0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i low = _mm256_set1_epi8(15);
  for (std::int64_t word = 0; word < words; ++word, panel += panel_width) {
    const __m256i first = _mm256_shuffle_epi8(load(panel), side_by_side);
    const __m256i second = _mm256_shuffle_epi8(load(panel + panel_width / 2), side_by_side);
    const __m256i halves[2] = {_mm256_unpacklo_epi32(first, second), _mm256_unpackhi_epi32(first, second)};
    for (const __m256i mixed : halves) {
      const __m256i two_bytes = _mm256_permutevar8x32_epi32(mixed, in_order);
      const __m256i lower = _mm256_and_si256(two_bytes, low);
      const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(two_bytes, 4), low);
      store(to, _mm256_permute2x128_si256(lower, upper, 0x20));
      store(to + table_bytes, _mm256_permute2x128_si256(lower, upper, 0x31));
      to += 2 * table_bytes;
    }
  }
}

template <typename Output>
void w1a1(const W1A1Part<Output>& part, Range panels) {
  constexpr std::int64_t most_bytes = 256 * 1024;  // in the second-level cache
  const std::int64_t words = part.panel_words / panel_width;
  const std::int64_t panel_bytes = words * halves_of_word;
  const std::int64_t together = own::min(1 + most_bytes / (panel_bytes + 1), panels.end - panels.begin);
  auto* const halves = scratch<Scratch::weights, Integers>(together * panel_bytes / sizeof(Integers));
  W1A1Part<Output> some = part;
  some.words = reinterpret_cast<const std::uint32_t*>(halves);
  some.panel_words = panel_bytes / word_bytes;
  for (Range p{panels.begin, 0}; p.begin < panels.end; p.begin = p.end) {
    p.end = own::min(panels.end, p.begin + together);
    for (std::int64_t i = p.begin; i < p.end; ++i) {
      to_halves(part.words + i * part.panel_words, words,
                reinterpret_cast<std::uint8_t*>(halves) + (i - p.begin) * panel_bytes);
    }
    some.first_panel = p.begin;
    w1a1_loop<Tile>(some, p);
  }
}

}  // namespace

void w1a1_sums(const W1A1Part<SumsOutput>& part, Range panels) { w1a1(part, panels); }
void w1a1_affine(const W1A1Part<AffineOutput>& part, Range panels) { w1a1(part, panels); }
void w1a1_signs(const W1A1Part<SignsOutput>& part, Range panels) { w1a1(part, panels); }

}  // namespace proxconnect::avx2
