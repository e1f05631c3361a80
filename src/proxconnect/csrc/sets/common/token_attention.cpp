// Attention of one token. A head of keys is read once for all queries that share it, and so are blocks of its values.

#include "interface/decoding.h"

#include "sets/common/kernels.h"
#include "sets/common/lane_sums.h"
#include "sets/common/scratch.h"
#include "sets/common/vector_math.h"

namespace proxconnect::KERNEL_SET {
namespace {

constexpr std::int64_t block_tokens = 64;  // whose values stay in the cache while one query after the other adds them
constexpr int tile_keys = 4;               // that a query is multiplied by at once
constexpr int chunk_panels = 4;            // of outputs that are summed in registers
constexpr int registers = panel_width / register_lanes;

// Writes x cos + (-second half, first half) sin, times `scale`. `to` may not be x.
void rotate(const float* x, const float* cos, const float* sin, std::int64_t features, float scale, float* to) {
  const std::int64_t half = features / 2;
  for (std::int64_t i = 0; i < half; i += panel_width) {
    const int width = lanes_from(i, half);
    const Floats first = load<Floats>(x + i, width), second = load<Floats>(x + half + i, width);
    const auto write = [&](const Floats& along, const Floats& across, std::int64_t at) {
      store((along * load<Floats>(cos + at, width) + across * load<Floats>(sin + at, width)) * scale, to + at, width);
    };
    write(first, -second, i);
    write(second, first, half + i);
  }
}

// Multiplies a query by `count` keys. A panel of features after the other is added to sixteen lanes.
template <int count>
void multiply(const float* query, const float* keys, std::int64_t row, std::int64_t features, float* scores) {
  RegisterFloats sums[count][registers] = {};
  std::int64_t i = 0;
  for (; i + panel_width <= features; i += panel_width) {
    for (int r = 0; r < registers; ++r) {
      const RegisterFloats some = register_from(query + i + r * register_lanes);
      for (int key = 0; key < count; ++key) {
        sums[key][r] += some * register_from(keys + key * row + i + r * register_lanes);
      }
    }
  }
  for (int key = 0; key < count; ++key) {
    Floats sum;
    std::memcpy(&sum, sums[key], sizeof sum);
    if (i < features) {
      const int width = lanes_from(i, features);
      sum += load<Floats>(query + i, width) * load<Floats>(keys + key * row + i, width);
    }
    scores[key] = sum_of(sum);
  }
}

// Replaces scores by exponentials of their distance from the greatest, and returns the sum of these: NaN where a score
// is not finite.
float exponentials(float* scores, std::int64_t count) {
  float greatest = scores[0];
  for (std::int64_t j = 1; j < count; ++j) greatest = own::max(greatest, scores[j]);
  const float nothing = sum_of_panels(count, [&](std::int64_t j, int width) {
    return load<Floats>(scores + j, width) * 0.0f;
  });
  return nothing + sum_of_panels(count, [&](std::int64_t j, int width) {
    const Floats e = exponential(load<Floats>(scores + j, width) - greatest);
    store(e, scores + j, width);
    return load<Floats>(scores + j, width);  // zeros in lanes beyond the width
  });
}

// Adds weights[j] times the row j of values, for `count` tokens, to some panels of sums.
template <int panels>
void add_panels(const float* weights, const float* values, std::int64_t row, std::int64_t count, float* sums) {
  RegisterFloats chunk[panels * registers];
  std::memcpy(chunk, sums, sizeof chunk);
  for (std::int64_t j = 0; j < count; ++j) {
    for (int r = 0; r < panels * registers; ++r) {
      chunk[r] += register_from(values + j * row + r * register_lanes) * weights[j];
    }
  }
  std::memcpy(sums, chunk, sizeof chunk);
}

// Does so for all features.
void add_values(const float* weights, const float* values, std::int64_t row, std::int64_t count,
                std::int64_t features, float* sums) {
  std::int64_t i = 0;
  for (; i + chunk_panels * panel_width <= features; i += chunk_panels * panel_width) {
    add_panels<chunk_panels>(weights, values + i, row, count, sums + i);
  }
  for (; i + panel_width <= features; i += panel_width) add_panels<1>(weights, values + i, row, count, sums + i);
  if (i == features) return;
  const int width = lanes_from(i, features);
  Floats last = load<Floats>(sums + i, width);
  for (std::int64_t j = 0; j < count; ++j) last += load<Floats>(values + j * row + i, width) * weights[j];
  store(last, sums + i, width);
}

void attend_head(const TokenAttention& of, std::int64_t text, std::int64_t head, float* queries, float* scores) {
  const std::int64_t features = of.features, last = of.tokens - 1, place = text * of.key_heads + head;
  float* const keys = of.keys.values + text * of.keys.text + head * of.keys.head;
  float* const values = of.values.values + text * of.values.text + head * of.values.head;
  float* const out = of.out + place * of.queries * features;
  const float *const cos = of.cos + text * of.turn, *const sin = of.sin + text * of.turn;

  rotate(of.key + place * features, cos, sin, features, 1.0f, keys + last * of.keys.row);
  own::copy_n(of.value + place * features, features, values + last * of.values.row);
  for (std::int64_t q = 0; q < of.queries; ++q) {
    rotate(of.query + (place * of.queries + q) * features, cos, sin, features, of.scale, queries + q * features);
  }
  for (std::int64_t j = 0; j < of.tokens; j += tile_keys) {
    for (std::int64_t q = 0; q < of.queries; ++q) {
      const float* const query = queries + q * features;
      float* const to = scores + q * of.tokens;
      if (j + tile_keys <= of.tokens) {
        multiply<tile_keys>(query, keys + j * of.keys.row, of.keys.row, features, to + j);
      } else {
        for (std::int64_t i = j; i < of.tokens; ++i) {
          multiply<1>(query, keys + i * of.keys.row, of.keys.row, features, to + i);
        }
      }
    }
  }
  for (std::int64_t q = 0; q < of.queries; ++q) {
    float* const weights = scores + q * of.tokens;
    const float total = exponentials(weights, of.tokens);
    for (std::int64_t j = 0; j < of.tokens; ++j) weights[j] /= total;
  }
  own::fill_n(out, of.queries * features, 0.0f);
  for (std::int64_t j = 0; j < of.tokens; j += block_tokens) {
    for (std::int64_t q = 0; q < of.queries; ++q) {
      add_values(scores + q * of.tokens + j, values + j * of.values.row, of.values.row,
                 own::min(of.tokens - j, block_tokens), features, out + q * features);
    }
  }
}

}  // namespace

void token_attention(const TokenAttention& of, Range heads) {
  float* const queries = scratch<Scratch::inputs, float>(of.queries * of.features);
  float* const scores = scratch<Scratch::sums, float>(of.queries * of.tokens);
  for (std::int64_t i = heads.begin; i < heads.end; ++i) {
    attend_head(of, i / of.key_heads, i % of.key_heads, queries, scores);
  }
}

}  // namespace proxconnect::KERNEL_SET
