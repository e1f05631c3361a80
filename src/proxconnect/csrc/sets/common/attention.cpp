// Attention in integers of 16 bits: one head after the other, whose keys and values are quantized once and stay in the
// caches, and blocks of queries, whose scores do.
//
// Integers lie in pairs, as bytes of int32: those of neighbouring features, or of neighbouring keys for the products with
// values. A panel holds the pairs of sixteen outputs side by side.

#include "interface/attention.h"

#include "sets/common/kernels.h"
#include "sets/common/prefetch.h"
#include "sets/common/quantize.h"
#include "sets/common/scratch.h"
#include "sets/common/transpose.h"
#include "sets/common/vector_math.h"
#include "sets/common/w1a8_micro_kernel.h"

namespace proxconnect::KERNEL_SET {
namespace {

using Pair = std::int32_t;

constexpr int registers = panel_width / register_lanes;  // of a panel
#if defined(__AVX512F__)
constexpr int tile_rows = 12;
#else
constexpr int tile_rows = 6;
#endif
constexpr int block_rows = 24;  // of queries
constexpr float greatest_value = 4095.0f;
constexpr float greatest_weight = 32767.0f;
constexpr float most_scale = 1e6f;

constexpr std::int64_t pairs_of(std::int64_t count) { return (count + 1) / 2; }

// Adds to `sum` both products of integers, lane by lane.
[[gnu::always_inline]] inline void add_products(Register& sum, Register a, Register b) {
#if defined(__AVX512F__)
  sum = reinterpret_cast<Register>(_mm512_dpwssd_epi32(
      reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  sum += reinterpret_cast<Register>(_mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  sum += (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
#endif
}

// Computes sums[rows] of `rows` rows of pairs, `stride` apart, and a panel.
template <int rows>
void multiply(const Pair* a, std::int64_t stride, const Pair* panel, std::int64_t pairs, Integers* sums) {
  Register sum[rows][registers];
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int part = 0; part < registers; ++part) sum[r][part] = Register{};
  }
  for (std::int64_t i = 0; i < pairs; ++i, panel += panel_width) {
    Register b[registers];
#pragma GCC unroll 4
    for (int part = 0; part < registers; ++part) std::memcpy(&b[part], panel + part * register_lanes, sizeof b[part]);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      const Register of_row = Register{} + a[r * stride + i];
#pragma GCC unroll 4
      for (int part = 0; part < registers; ++part) add_products(sum[r][part], of_row, b[part]);
    }
  }
  auto* const out = reinterpret_cast<Pair*>(sums);
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int part = 0; part < registers; ++part) {
      std::memcpy(out + r * panel_width + part * register_lanes, &sum[r][part], sizeof sum[r][part]);
    }
  }
}

using Multiply = void (*)(const Pair*, std::int64_t, const Pair*, std::int64_t, Integers*);

template <int... less_one>
constexpr Multiply multiply_rows(int rows, std::integer_sequence<int, less_one...>) {
  constexpr Multiply all[] = {multiply<less_one + 1>...};
  return all[rows - 1];
}

// Multiplies by that of `rows` rows, at most tile_rows.
inline Multiply multiply_by(int rows) { return multiply_rows(rows, std::make_integer_sequence<int, tile_rows>()); }

// Returns x times `factor`, rounded to integers in the low 16 bits of lanes whose high bits are anything.
[[gnu::always_inline]] inline Register rounded(RegisterFloats x, RegisterFloats factor) {
  return reinterpret_cast<Register>(x * factor + rounding);
}

// Writes the low 16 bits of sixteen lanes.
[[gnu::always_inline]] inline void store_halves(const Register (&lanes)[registers], Pair* to) {
#if defined(__AVX512F__)
  const __m256i halves = _mm512_cvtepi32_epi16(reinterpret_cast<__m512i>(lanes[0]));
#elif defined(__AVX2__)
  const __m256i low = _mm256_set1_epi32(0xffff);
  const __m256i mixed = _mm256_packus_epi32(_mm256_and_si256(reinterpret_cast<__m256i>(lanes[0]), low),
                                            _mm256_and_si256(reinterpret_cast<__m256i>(lanes[1]), low));
  const __m256i halves = _mm256_permute4x64_epi64(mixed, 0xd8);
#else
  std::uint16_t halves[panel_width];
  for (int lane = 0; lane < panel_width; ++lane) {
    halves[lane] = static_cast<std::uint16_t>(lanes[lane / register_lanes][lane % register_lanes]);
  }
#endif
  std::memcpy(to, &halves, sizeof halves);
}

// Quantizes a row of `count` floats times `factor` to pairs, zeros behind them up to whole vectors.
inline void quantize_row(const float* x, std::int64_t count, float factor, Pair* pairs) {
  for (std::int64_t i = 0; i < count; i += panel_width, pairs += panel_width / 2) {
    const int width = static_cast<int>(count - i < panel_width ? count - i : panel_width);
    const auto floats = load<Floats>(x + i, width);
    Register lanes[registers];
    for (int part = 0; part < registers; ++part) {
      lanes[part] = rounded(part_of(floats, part * register_lanes), broadcast<RegisterFloats>(factor));
    }
    store_halves(lanes, pairs);
  }
}

// The step by which numbers up to `most` become integers up to `greatest`, and its inverse. Both are 0 where numbers are
// too small for the inverse and its multiples to be floats.
struct Step {
  static constexpr float smallest = 1e-30f;
  float step, inverse;

  Step(float most, float greatest) : step(most / greatest), inverse(0.0f) {
    if (step < smallest) {
      step = 0.0f;
    } else {
      inverse = 1.0f / step;
    }
  }
};

class Head {
 public:
  explicit Head(const Attention& attention)
      : of_(attention),
        greatest_(greatest_of(attention.features)),
        feature_pairs_((attention.features + panel_width - 1) / panel_width * (panel_width / 2)),
        key_panels_(panels_of(attention.keys)),
        value_panels_(panels_of(attention.outputs)),
        row_pairs_(key_panels_ * panel_width / 2),
        keys_(lines<Scratch::weights>(key_panels_ * panel_width * feature_pairs_)),
        values_(lines<Scratch::plane>(value_panels_ * panel_width * row_pairs_)),
        key_steps_(scratch<Scratch::steps, Floats>(key_panels_)),
        value_steps_(scratch<Scratch::groups, Floats>(2 * value_panels_)),
        queries_(lines<Scratch::inputs>(block_rows * (feature_pairs_ + row_pairs_))),
        weights_(queries_ + block_rows * feature_pairs_),
        scores_(scratch<Scratch::sums, Floats>(block_rows * key_panels_)) {}

  // Returns whether all numbers are of a size that can be quantized.
  bool run(std::int64_t batch, std::int64_t head) {
    const auto from = [&](const HeadsOfRows& of) { return of.values + batch * of.batch + head * of.head; };
    if (!take_keys(from(of_.key)) || !take_values(from(of_.value))) return false;
    const float* const query = from(of_.query);
    for (std::int64_t first = 0; first < of_.queries; first += block_rows) {
      const int rows = static_cast<int>(of_.queries - first < block_rows ? of_.queries - first : block_rows);
      float steps[block_rows];
      for (int r = 0; r < rows; ++r) {
        const float* const row = query + (first + r) * of_.query.row;
        prefetch_row(row + rows_ahead * of_.query.row, of_.features);
        const float most = proxconnect::greatest_magnitude(row, of_.features) * magnitude_of_scale();
        if (!(most <= most_input)) return false;
        const Step step(most, greatest_);
        steps[r] = step.step;
        quantize_row(row, of_.features, of_.scale * step.inverse, queries_ + r * feature_pairs_);
      }
      score(rows);
      std::int32_t totals[block_rows];
      for (int r = 0; r < rows; ++r) totals[r] = weigh(r, steps[r]);
      float* const out = of_.out + ((batch * of_.queries + first) * of_.heads + head) * of_.outputs;
      write(rows, totals, out);
    }
    return true;
  }

 private:
  // Products of numbers up to this size, of all features, are far from the greatest float.
  static constexpr float most_input = 1e15f;

  template <Scratch purpose>
  static Pair* lines(std::int64_t pairs) {
    return reinterpret_cast<Pair*>(scratch<purpose, Integers>((pairs + panel_width - 1) / panel_width));
  }

  static float greatest_of(std::int64_t features) {
    std::int32_t greatest = 4095;
    while (std::int64_t{greatest} * greatest * features > 0x7fffffff) --greatest;
    return static_cast<float>(greatest);
  }

  float magnitude_of_scale() const { return of_.scale < 0.0f ? -of_.scale : of_.scale; }

  bool take_keys(const float* key) {
    auto* const rows = queries_;  // of register_lanes keys; queries come later
    for (std::int64_t panel = 0; panel < key_panels_; ++panel) {
      for (int part = 0; part < registers; ++part) {
        for (int lane = 0; lane < register_lanes; ++lane) {
          const std::int64_t j = panel * panel_width + part * register_lanes + lane;
          Pair* const to = rows + lane * feature_pairs_;
          if (j >= of_.keys) {
            std::memset(to, 0, static_cast<std::size_t>(feature_pairs_) * sizeof(Pair));
            continue;
          }
          const float* const row = key + j * of_.key.row;
          prefetch_row(row + rows_ahead * of_.key.row, of_.features);
          const float most = proxconnect::greatest_magnitude(row, of_.features);
          if (!(most <= most_input)) return false;
          const Step step(most, greatest_);
          reinterpret_cast<float*>(key_steps_)[j] = step.step;
          quantize_row(row, of_.features, step.inverse, to);
        }
        Pair* const panel_part = keys_ + panel * panel_width * feature_pairs_ + part * register_lanes;
        for (std::int64_t i = 0; i < feature_pairs_; i += register_lanes) {
          Vector<register_lanes> square[register_lanes];
          for (int lane = 0; lane < register_lanes; ++lane) {
            std::memcpy(&square[lane], rows + lane * feature_pairs_ + i, sizeof square[lane]);
          }
          transpose<register_lanes>(square);
          for (int lane = 0; lane < register_lanes && i + lane < feature_pairs_; ++lane) {
            std::memcpy(panel_part + (i + lane) * panel_width, &square[lane], sizeof square[lane]);
          }
        }
      }
    }
    return true;
  }

  bool take_values(const float* value) {
    bool finite = true;
    for (std::int64_t panel = 0; panel < value_panels_; ++panel) {
      const std::int64_t first = panel * panel_width;
      const int width = static_cast<int>(of_.outputs - first < panel_width ? of_.outputs - first : panel_width);
      const auto row = [&](std::int64_t j) { return load<Floats>(value + j * of_.value.row + first, width); };
      Register most[registers] = {};
      for (std::int64_t j = 0; j < of_.keys; ++j) {
        const Floats floats = row(j);
        if (panel == 0) prefetch_row(value + (j + rows_ahead) * of_.value.row, of_.outputs);
        for (int part = 0; part < registers; ++part) {
          const auto bits = reinterpret_cast<Register>(magnitude(part_of(floats, part * register_lanes)));
          most[part] = bits > most[part] ? bits : most[part];
        }
      }
      Floats inverse;
      for (int lane = 0; lane < panel_width; ++lane) {
        const float greatest = own::bit_cast<float>(std::int32_t{most[lane / register_lanes][lane % register_lanes]});
        finite &= greatest <= most_input;
        const Step step(greatest, greatest_value);
        value_steps_[panel][lane] = step.step;
        inverse[lane] = step.inverse;
      }
      Pair* to = values_ + panel * panel_width * row_pairs_;
      for (std::int64_t j = 0; j < of_.keys; j += 2, to += panel_width) {
        const Floats low = row(j), high = j + 1 < of_.keys ? row(j + 1) : Floats{};
        for (int part = 0; part < registers; ++part) {
          const int at = part * register_lanes;
          const RegisterFloats factor = part_of(inverse, at);
          const Register pairs = (rounded(part_of(low, at), factor) & 0xffff) | rounded(part_of(high, at), factor) << 16;
          std::memcpy(to + at, &pairs, sizeof pairs);
        }
      }
    }
    return finite;
  }

  // Writes the scores of a block of queries, each over its step.
  void score(int rows) {
    const Parts tiles(rows, tile_rows);
    for (std::int64_t panel = 0; panel < key_panels_; ++panel) {
      const Floats steps = key_steps_[panel];
      for (std::int64_t i = 0; i < tiles.count(); ++i) {
        const Range tile = tiles[i];
        const int count = static_cast<int>(tile.end - tile.begin);
        Integers sums[tile_rows];
        multiply_by(count)(queries_ + tile.begin * feature_pairs_, feature_pairs_,
                           keys_ + panel * panel_width * feature_pairs_, feature_pairs_, sums);
        for (int r = 0; r < count; ++r) scores_[(tile.begin + r) * key_panels_ + panel] = to_floats(sums[r]) * steps;
      }
    }
    const int width = static_cast<int>(of_.keys - (key_panels_ - 1) * panel_width);
    for (int r = 0; r < rows; ++r) {
      Floats& last = scores_[r * key_panels_ + key_panels_ - 1];
      for (int lane = width; lane < panel_width; ++lane) last[lane] = -greatest_float;
    }
  }

  // Turns the scores of a query into weights, and returns the sum of these.
  std::int32_t weigh(int row, float step) {
    float* const scores = reinterpret_cast<float*>(scores_ + row * key_panels_);
    const std::int64_t count = key_panels_ * panel_width;
    RegisterFloats most = register_from(scores);
    for (std::int64_t j = register_lanes; j < count; j += register_lanes) {
      const RegisterFloats some = register_from(scores + j);
      most = most < some ? some : most;
    }
    float greatest = most[0];
    for (int lane = 1; lane < register_lanes; ++lane) greatest = own::max<float>(greatest, most[lane]);

    RegisterFloats sum[registers] = {};
    for (std::int64_t j = 0; j < count; j += panel_width) {
      for (int part = 0; part < registers; ++part) {
        float* const at = scores + j + part * register_lanes;
        const RegisterFloats e = exponential((register_from(at) - greatest) * step);
        std::memcpy(at, &e, sizeof e);
        if (j + panel_width < count) sum[part] += e;
      }
    }
    std::memset(scores + of_.keys, 0, static_cast<std::size_t>(count - of_.keys) * sizeof(float));
    float total = 0.0f;
    for (int lane = 0; lane < panel_width; ++lane) {
      total += sum[lane / register_lanes][lane % register_lanes] + scores[count - panel_width + lane];
    }

    const float most_of_all = static_cast<float>((1 << 19) - of_.keys);
    const auto factor = broadcast<RegisterFloats>(own::min(greatest_weight, most_of_all / total));
    Register weights = {};
    Pair* to = weights_ + row * row_pairs_;
    for (std::int64_t j = 0; j < count; j += panel_width, to += panel_width / 2) {
      Register bits[registers];
      for (int part = 0; part < registers; ++part) {
        bits[part] = rounded(register_from(scores + j + part * register_lanes), factor);
        weights += bits[part] & 0xffff;
      }
      store_halves(bits, to);
    }
    std::int32_t of_all = 0;
    for (int lane = 0; lane < register_lanes; ++lane) of_all += weights[lane];
    return of_all;
  }

  void write(int rows, const std::int32_t* totals, float* out) const {
    const Parts tiles(rows, tile_rows);
    for (std::int64_t panel = 0; panel < value_panels_; ++panel) {
      const std::int64_t first = panel * panel_width;
      const int width = static_cast<int>(of_.outputs - first < panel_width ? of_.outputs - first : panel_width);
      const Floats steps = value_steps_[panel];
      for (std::int64_t i = 0; i < tiles.count(); ++i) {
        const Range tile = tiles[i];
        const int count = static_cast<int>(tile.end - tile.begin);
        Integers sums[tile_rows];
        multiply_by(count)(weights_ + tile.begin * row_pairs_, row_pairs_, values_ + panel * panel_width * row_pairs_,
                           pairs_of(of_.keys), sums);
        for (int r = 0; r < count; ++r) {
          const float share = 1.0f / static_cast<float>(totals[tile.begin + r]);
          store(to_floats(sums[r]) * share * steps, out + (tile.begin + r) * of_.heads * of_.outputs + first, width);
        }
      }
    }
  }

  const Attention& of_;
  float greatest_;
  std::int64_t feature_pairs_;  // of a row, with zeros up to whole panels
  std::int64_t key_panels_;
  std::int64_t value_panels_;
  std::int64_t row_pairs_;      // of weights
  Pair* keys_;                  // [panels, feature pairs, 16]
  Pair* values_;                // [panels, pairs of keys, 16]
  Floats* key_steps_;
  Floats* value_steps_;
  Pair* queries_;               // of a block
  Pair* weights_;
  Floats* scores_;
};

}  // namespace

bool attention(const Attention& of, Range heads) {
  if (!(of.scale >= -most_scale && of.scale <= most_scale)) return false;
  Head head(of);
  for (std::int64_t i = heads.begin; i < heads.end; ++i) {
    if (!head.run(i / of.heads, i % of.heads)) return false;
  }
  return true;
}

}  // namespace proxconnect::KERNEL_SET
