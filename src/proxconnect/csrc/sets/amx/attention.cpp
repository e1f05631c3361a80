// Attention in bfloat16 of x86 processors with AMX, which multiply tiles: 16 rows of 32 numbers by 32 numbers of a panel
// (tdpbf16ps). As in sets/common/attention.cpp, keys and values of a head are rounded once and stay in the caches, and so
// do the scores of a block of queries.
//
// Numbers lie in pairs, as halves of an int32: those of neighbouring features, or of neighbouring keys for the products
// with values. A panel holds the pairs of sixteen outputs side by side.

#include "interface/attention.h"

#include <limits>

#include "sets/amx/kernels.h"
#include "sets/amx/tiles.h"
#include "sets/common/lanes.h"
#include "sets/common/prefetch.h"
#include "sets/common/scratch.h"
#include "sets/common/transpose.h"

namespace proxconnect::amx {
namespace {

using Pair = std::int32_t;

constexpr std::int64_t tile_pairs = tile_row_bytes / sizeof(Pair);
constexpr std::int64_t panel_tile = tile_pairs * panel_width;  // pairs of a panel in a tile
constexpr int block_rows = 2 * tile_rows;                      // of queries
constexpr float lowest_float = std::numeric_limits<float>::lowest();
constexpr float log2_of_e = 1.44269504f;

static_assert(tile_pairs == panel_width && register_lanes == panel_width);

// Returns how many tiles hold so many pairs, and how many panels there are of which two are multiplied at a time.
constexpr std::int64_t tiles_of(std::int64_t numbers) { return (numbers + 2 * tile_pairs - 1) / (2 * tile_pairs); }
constexpr std::int64_t even_panels_of(std::int64_t outputs) { return tiles_of(outputs) * 2; }

// Writes x rounded to bfloat16, and returns it as floats.
inline Floats store_rounded(const Floats& x, Pair* to) {
  const auto halves = own::bit_cast<__m256i>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(x)));
  std::memcpy(to, &halves, sizeof halves);
  return reinterpret_cast<Floats>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

// Returns pairs of the same lane of both, the first in the low bits.
inline Integers rounded_pairs(const Floats& low, const Floats& high) {
  const __m512bh halves = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(high), reinterpret_cast<__m512>(low));
  const __m512i by_lane = _mm512_add_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                                           _mm512_set1_epi32(16 << 16));
  const __m512i twice = _mm512_or_si512(by_lane, _mm512_slli_epi32(by_lane, 16));
  return own::bit_cast<Integers>(_mm512_permutexvar_epi16(twice, own::bit_cast<__m512i>(halves)));
}

// Returns 2^x for x <= 0, with an error of a thirtieth of what rounding to bfloat16 has. 2^r, |r| <= 1/2, is the cubic
// whose greatest error is least.
inline Floats power_of_two(const Floats& x) {
  const auto of = reinterpret_cast<__m512>(x);
  const __m512 n = _mm512_roundscale_ps(of, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_sub_ps(of, n);
  __m512 y = _mm512_fmadd_ps(_mm512_set1_ps(0.05517167f), r, _mm512_set1_ps(0.24261112f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.69326099f));
  y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.99992807f));
  return reinterpret_cast<Floats>(_mm512_scalef_ps(y, n));
}

// Rounds a row of `count` floats times `factor` to pairs, with zeros behind them up to whole tiles.
inline void round_row(const float* x, std::int64_t count, float factor, Pair* pairs) {
  const Pair* const end = pairs + tiles_of(count) * tile_pairs;
  for (std::int64_t i = 0; pairs < end; i += panel_width, pairs += panel_width / 2) {
    const std::int64_t left = own::clamp<std::int64_t>(count - i, 0, panel_width);
    store_rounded(load<Floats>(x + i, static_cast<int>(left)) * factor, pairs);
  }
}

// Multiplies up to 32 rows of pairs by two panels, whose tiles lie one behind the other, into rows of 32 floats.
// Rows are `stride` pairs apart, sums `out_stride` floats.
inline void multiply(int rows, const Pair* a, std::int64_t stride, const Pair* panels, std::int64_t tiles, float* out,
                     std::int64_t out_stride) {
  const bool more_rows = rows > tile_rows;
  const Pair* const next_panel = panels + tiles * panel_tile;
  const std::int64_t row_bytes = stride * std::int64_t{sizeof(Pair)}, out_bytes = out_stride * std::int64_t{sizeof(float)};
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (std::int64_t i = 0; i < tiles; ++i) {
    _tile_loadd(4, a + i * tile_pairs, row_bytes);
    _tile_loadd(6, panels + i * panel_tile, tile_row_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, next_panel + i * panel_tile, tile_row_bytes);
    _tile_dpbf16ps(1, 4, 7);
    if (!more_rows) continue;
    _tile_loadd(5, a + i * tile_pairs + tile_rows * stride, row_bytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, out, out_bytes);
  _tile_stored(1, out + panel_width, out_bytes);
  if (!more_rows) return;
  _tile_stored(2, out + tile_rows * out_stride, out_bytes);
  _tile_stored(3, out + tile_rows * out_stride + panel_width, out_bytes);
}

class Head {
 public:
  explicit Head(const Attention& attention)
      : of_(attention),
        feature_tiles_(tiles_of(attention.features)),
        key_tiles_(tiles_of(attention.keys)),
        key_panels_(even_panels_of(attention.keys)),
        value_panels_(even_panels_of(attention.outputs)),
        keys_(lines<Scratch::weights>(key_panels_ * feature_tiles_ * panel_tile)),
        values_(lines<Scratch::plane>(value_panels_ * key_tiles_ * panel_tile)),
        queries_(lines<Scratch::inputs>(block_rows * feature_tiles_ * tile_pairs)),
        weights_(lines<Scratch::starts>(block_rows * key_tiles_ * tile_pairs)),
        scores_(scratch<Scratch::sums, Floats>(block_rows * key_panels_)) {}

  // Returns whether all outputs are finite.
  bool run(std::int64_t batch, std::int64_t head) {
    const auto from = [&](const HeadsOfRows& of) { return of.values + batch * of.batch + head * of.head; };
    take_keys(from(of_.key));
    take_values(from(of_.value));
    bool finite = true;
    for (std::int64_t first = 0; first < of_.queries; first += block_rows) {
      const int rows = static_cast<int>(own::min<std::int64_t>(of_.queries - first, block_rows));
      for (int r = 0; r < rows; ++r) {
        const float* const row = from(of_.query) + (first + r) * of_.query.row;
        prefetch_row(row + block_rows * of_.query.row, of_.features);
        round_row(row, of_.features, of_.scale * log2_of_e, queries_ + r * feature_tiles_ * tile_pairs);
      }
      for (std::int64_t panel = 0; panel < key_panels_; panel += 2) {
        multiply(rows, queries_, feature_tiles_ * tile_pairs, keys_ + panel * feature_tiles_ * panel_tile,
                 feature_tiles_, reinterpret_cast<float*>(scores_ + panel), key_panels_ * panel_width);
      }
      float shares[block_rows];
      for (int r = 0; r < rows; ++r) shares[r] = 1.0f / weigh(r);
      finite &= write(rows, shares, of_.out + ((batch * of_.queries + first) * of_.heads + head) * of_.outputs);
    }
    return finite;
  }

 private:
  template <Scratch purpose>
  static Pair* lines(std::int64_t pairs) {
    return reinterpret_cast<Pair*>(scratch<purpose, Integers>(pairs / panel_width));
  }

  void take_keys(const float* key) {
    for (std::int64_t panel = 0; panel < key_panels_; ++panel) {
      Pair* const to = keys_ + panel * feature_tiles_ * panel_tile;
      for (int lane = 0; lane < panel_width; ++lane) {
        const std::int64_t j = panel * panel_width + lane;
        Pair* const row = queries_ + lane * feature_tiles_ * tile_pairs;  // queries come later
        if (j < of_.keys) {
          prefetch_row(key + (j + rows_ahead) * of_.key.row, of_.features);
          round_row(key + j * of_.key.row, of_.features, 1.0f, row);
        } else {
          std::memset(row, 0, static_cast<std::size_t>(feature_tiles_ * tile_row_bytes));
        }
      }
      for (std::int64_t tile = 0; tile < feature_tiles_; ++tile) {
        Vector<panel_width> square[panel_width];
        for (int lane = 0; lane < panel_width; ++lane) {
          std::memcpy(&square[lane], queries_ + (lane * feature_tiles_ + tile) * tile_pairs, sizeof square[lane]);
        }
        transpose<panel_width>(square);
        std::memcpy(to + tile * panel_tile, square, sizeof square);
      }
    }
  }

  void take_values(const float* value) {
    for (std::int64_t panel = 0; panel < value_panels_; ++panel) {
      const std::int64_t first = panel * panel_width;
      const int width = static_cast<int>(own::clamp<std::int64_t>(of_.outputs - first, 0, panel_width));
      const auto row = [&](std::int64_t j) {
        return load<Floats>(value + j * of_.value.row + first, j < of_.keys ? width : 0);
      };
      Pair* to = values_ + panel * key_tiles_ * panel_tile;
      for (std::int64_t j = 0; j < key_tiles_ * 2 * tile_pairs; j += 2, to += panel_width) {
        const Integers pairs = rounded_pairs(row(j), row(j + 1));
        std::memcpy(to, &pairs, sizeof pairs);
      }
    }
  }

  // Turns the scores of a query into weights, and returns the sum of these.
  float weigh(int row) {
    Floats* const scores = scores_ + row * key_panels_;
    for (std::int64_t panel = key_panels_ - 2; panel < key_panels_; ++panel) {
      const int keys = static_cast<int>(own::clamp<std::int64_t>(of_.keys - panel * panel_width, 0, panel_width));
      const auto others = static_cast<__mmask16>(~first_lanes(keys));  // their values are 0
      _mm512_mask_store_ps(scores + panel, others, _mm512_set1_ps(lowest_float));
    }
    __m512 most = reinterpret_cast<__m512>(scores[0]);
    for (std::int64_t panel = 1; panel < key_panels_; ++panel) {
      most = _mm512_max_ps(most, reinterpret_cast<__m512>(scores[panel]));
    }
    const float greatest = _mm512_reduce_max_ps(most);
    Floats sum = {};
    Pair* to = weights_ + row * key_tiles_ * tile_pairs;
    for (std::int64_t panel = 0; panel < key_panels_; ++panel, to += panel_width / 2) {
      sum += store_rounded(power_of_two(scores[panel] - greatest), to);
    }
    return _mm512_reduce_add_ps(reinterpret_cast<__m512>(sum));
  }

  // Returns whether these outputs are finite.
  bool write(int rows, const float* shares, float* out) const {
    Floats not_finite = {};
    for (std::int64_t panel = 0; panel < value_panels_; panel += 2) {
      Floats sums[block_rows][2];
      multiply(rows, weights_, key_tiles_ * tile_pairs, values_ + panel * key_tiles_ * panel_tile, key_tiles_,
               reinterpret_cast<float*>(sums), 2 * panel_width);
      for (int next = 0; next < 2; ++next) {
        const std::int64_t first = (panel + next) * panel_width;
        const int width = static_cast<int>(own::clamp<std::int64_t>(of_.outputs - first, 0, panel_width));
        for (int r = 0; r < rows; ++r) {
          const Floats found = sums[r][next] * shares[r];
          not_finite += found * 0.0f;  // NaN where one is not
          store(found, out + r * of_.heads * of_.outputs + first, width);
        }
      }
    }
    return _mm512_reduce_add_ps(reinterpret_cast<__m512>(not_finite)) == 0.0f;
  }

  const Attention& of_;
  std::int64_t feature_tiles_;
  std::int64_t key_tiles_;
  std::int64_t key_panels_;
  std::int64_t value_panels_;
  Pair* keys_;     // [panels, feature pairs, 16]
  Pair* values_;   // [panels, pairs of keys, 16]
  Pair* queries_;  // of a block
  Pair* weights_;
  Floats* scores_;
};

}  // namespace

bool bfloat16_attention(const Attention& of, Range heads) {
  return with_tiles([&] {
    TileSizes sizes;
    for (int tile = 0; tile < 8; ++tile) sizes.set(tile, tile_rows, tile_row_bytes);
    sizes.load();
    Head head(of);
    for (std::int64_t i = heads.begin; i < heads.end; ++i) {
      if (!head.run(i / of.heads, i % of.heads)) return false;
    }
    return true;
  });
}

}  // namespace proxconnect::amx
