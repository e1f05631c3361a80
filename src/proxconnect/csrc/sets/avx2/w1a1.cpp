// The W1A1 micro-kernel of AVX2 looks differing bits up by vpshufb. A byte of a row chooses a table. The two halves of
// a weight's byte, for each of the 16 outputs of a panel, find in the table's halves how many of their bits differ.

#include <immintrin.h>

#include "sets/common/accumulate.h"
#include "sets/common/kernels.h"
#include "sets/common/scratch.h"
#include "sets/common/w1a1_macro_kernel.h"

namespace proxconnect::avx2 {
namespace {

constexpr std::int64_t word_bytes = 4;
constexpr std::int64_t table_bytes = 32;  // of one byte of a row; as many hold a byte of 16 weights by halves
constexpr std::int64_t halves_of_word = word_bytes * table_bytes;  // bytes that hold a word of a panel by halves
constexpr std::int64_t words_that_fit = 15;   // the sums of a byte: 15 words * 4 bytes * 4 bits < 2^8
constexpr std::int64_t blocks_that_fit = 60;  // twice the sums of both halves in 16 bits: 60 * 2 * 2 * 240 < 2^16

// of_byte[byte][h][x] is the number of bits in which x differs from half h of the byte.
struct Tables {
  alignas(table_bytes) std::uint8_t of_byte[256][table_bytes];
};
constexpr Tables tables = [] {
  Tables filled{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    for (unsigned x = 0; x < 16; ++x) {
      filled.of_byte[byte][x] = static_cast<std::uint8_t>(own::popcount((byte & 15) ^ x));
      filled.of_byte[byte][16 + x] = static_cast<std::uint8_t>(own::popcount((byte >> 4) ^ x));
    }
  }
  return filled;
}();

__m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
void store(void* to, __m256i value) { _mm256_storeu_si256(static_cast<__m256i*>(to), value); }

// A K-block: words of runs, as many as fit bytes, of a row and of the rows `stride` from it.
struct KBlock {
  const std::uint8_t* a;
  std::int64_t stride;
  const std::int64_t* offsets;
  std::int64_t runs;
  std::int64_t words;  // of a run
};

// Adds to counts[p][r] the bits in which row r and panel p, `panel_bytes` from the one before, differ. Inlined, gcc 12
// would keep the sums in memory.
template <int rows, int panels>
[[gnu::noinline]] void count(const KBlock& block, const std::uint8_t* halves, std::int64_t panel_bytes,
                             __m256i (&counts)[panels][rows]) {
  const std::int64_t stride = block.stride;
  __m256i sum[panels][rows];
#pragma GCC unroll 2
  for (int p = 0; p < panels; ++p) {
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) sum[p][r] = _mm256_setzero_si256();
  }
  for (std::int64_t run = 0; run < block.runs; ++run) {
    const std::uint8_t* a = block.a + block.offsets[run];
    for (const std::uint8_t* end = a + block.words * word_bytes; a < end; a += word_bytes) {
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

struct MicroKernel {
  static constexpr int max_rows = 4;
  static constexpr int max_panels = 2;

  // Panels are given by halves of bytes.
  template <int rows, int panels>
  [[gnu::always_inline]] static void sums(const std::uint8_t* a, const SignLines& lines, const std::uint32_t* panel,
                                          std::int64_t panel_words, const Integers* start, Integers* sums) {
    const auto* halves = reinterpret_cast<const std::uint8_t*>(panel);
    const std::int64_t block_runs =
        own::max<std::int64_t>(words_that_fit / own::max<std::int64_t>(lines.run_words, 1), 1);
    __m256i counts[panels][rows] = {};
    // Equal signs add one, differing signs take one away.
    const auto subtract = [&] {
      for (int i = 0; i < panels * rows; ++i) {
        const __m256i twice = _mm256_slli_epi16(counts[i / rows][i % rows], 1);
        const auto* from = reinterpret_cast<const __m256i*>(start + i);
        auto* to = reinterpret_cast<__m256i*>(sums + i);
        store(to, _mm256_sub_epi32(load(from), _mm256_cvtepu16_epi32(_mm256_castsi256_si128(twice))));
        store(to + 1, _mm256_sub_epi32(load(from + 1), _mm256_cvtepu16_epi32(_mm256_extracti128_si256(twice, 1))));
      }
      start = sums;
      own::fill_n(counts[0], panels * rows, _mm256_setzero_si256());
    };
    // Short runs are gathered into blocks, long ones cut into blocks.
    const auto add = [&](std::int64_t run_block, std::int64_t first, std::int64_t blocks) {
      const std::int64_t run = run_block * block_runs;
      for (std::int64_t word = first * words_that_fit; blocks > 0; --blocks, word += words_that_fit) {
        const KBlock block{a + word * word_bytes, lines.row_stride, lines.offsets + run,
                           own::min(block_runs, lines.runs - run), own::min(words_that_fit, lines.run_words - word)};
        count<rows, panels>(block, halves, panel_words * word_bytes, counts);
        halves += block.runs * block.words * halves_of_word;
      }
    };
    accumulate<blocks_that_fit>((lines.runs + block_runs - 1) / block_runs,
                                (lines.run_words + words_that_fit - 1) / words_that_fit, add, subtract);
  }
};

// Splits the words of a panel into halves of bytes.
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
  constexpr std::int64_t max_bytes = 256 * 1024;  // in the second-level cache
  const std::int64_t words = part.panel_words / panel_width;
  const std::int64_t panel_bytes = words * halves_of_word;
  const std::int64_t block_panels = own::min(1 + max_bytes / (panel_bytes + 1), panels.end - panels.begin);
  auto* const halves = scratch<Scratch::weights, Integers>(block_panels * panel_bytes / sizeof(Integers));
  W1A1Part<Output> block = part;
  block.words = reinterpret_cast<const std::uint32_t*>(halves);
  block.panel_words = panel_bytes / word_bytes;
  for (Range p{panels.begin, 0}; p.begin < panels.end; p.begin = p.end) {
    p.end = own::min(panels.end, p.begin + block_panels);
    for (std::int64_t i = p.begin; i < p.end; ++i) {
      to_halves(part.words + i * part.panel_words, words,
                reinterpret_cast<std::uint8_t*>(halves) + (i - p.begin) * panel_bytes);
    }
    block.first_panel = p.begin;
    w1a1_macro_kernel<MicroKernel>(block, p);
  }
}

}  // namespace

void w1a1_sums(const W1A1Part<SumsOutput>& part, Range panels) { w1a1(part, panels); }
void w1a1_affine(const W1A1Part<AffineOutput>& part, Range panels) { w1a1(part, panels); }
void w1a1_signs(const W1A1Part<SignsOutput>& part, Range panels) { w1a1(part, panels); }
void w1a1_chain(const W1A1Part<ChainOutput>& part, Range panels) { w1a1(part, panels); }

}  // namespace proxconnect::avx2
