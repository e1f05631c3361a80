// Passes over latent weights, activations or outputs, for the parts that drivers/latents.cpp makes.

#include "sets/common/elementwise_maps.h"
#include "sets/common/kernels.h"
#include "sets/common/lane_sums.h"

namespace proxconnect::KERNEL_SET {
namespace {

// Stores past the caches, to memory that is not read soon: it need not be fetched before it is overwritten.
class Stream {
 public:
  explicit Stream(float* out) : out_(out) {}
#if defined(__AVX2__)
  ~Stream() { _mm_sfence(); }
#endif
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void operator()(const Floats& lanes, std::int64_t i, int width) const {
    float* to = out_ + i;
#if defined(__AVX2__)
    if (width == panel_width && reinterpret_cast<std::uintptr_t>(to) % sizeof lanes == 0) {
#if defined(__AVX512F__)
      _mm512_stream_ps(to, reinterpret_cast<const __m512&>(lanes));
#else
      __m256 halves[2];
      std::memcpy(halves, &lanes, sizeof lanes);
      _mm256_stream_ps(to, halves[0]);
      _mm256_stream_ps(to + 8, halves[1]);
#endif
      return;
    }
#endif
    store(lanes, to, width);
  }

 private:
  float* out_;
};

// Calls pass(row, begin, end) for the elements of one row at a time.
template <typename Pass>
void by_rows(const Latents& w, Range elements, const Pass& pass) {
  for (std::int64_t i = elements.begin; i < elements.end;) {
    const std::int64_t row = i / w.columns;
    const std::int64_t row_end = (row + 1) * w.columns;
    const std::int64_t end = row_end < elements.end ? row_end : elements.end;
    pass(row, i, end);
    i = end;
  }
}

}  // namespace

void mean_magnitudes(const float* values, std::int64_t columns, float* mean, Range rows) {
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const float* from = values + row * columns;
    const Floats sum = lanes_of_panels(columns, [&](std::int64_t i, int width) {
      return magnitude(load<Floats>(from + i, width));
    });
    float total = 0.0f;
    for (int lane = 0; lane < panel_width; ++lane) total += sum[lane];
    mean[row] = total / static_cast<float>(columns);
  }
}

void quantize(const Latents& w, const ElementwiseMap& chosen, float* out, float* codes, Range elements) {
  with_map(chosen, [&](const auto& map) {
    by_rows(w, elements, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
      const float s = w.s_of(row), alpha = w.alpha_of(row);
      for (std::int64_t i = begin; i < end; i += panel_width) {
        const int width = lanes_from(i, end);
        const Floats code = map.value(argument(map, load<Floats>(w.values + i, width), s));
        store(alpha * code, out + i, width);
        if (codes) store(code, codes + i, width);
      }
    });
  });
}

void scale_gradient(const Latents& w, const ElementwiseMap& chosen, const float* g, float* out, Range elements) {
  const Stream stream(out);
  with_map(chosen, [&](const auto& map) {
    by_rows(w, elements, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
      const float s = w.s_of(row), factor = w.alpha_of(row) / s;
      for (std::int64_t i = begin; i < end; i += panel_width) {
        const int width = lanes_from(i, end);
        const Floats slope = map.slope(argument(map, load<Floats>(w.values + i, width), s));
        stream(slope * load<Floats>(g + i, width) * factor, i, width);
      }
    });
  });
}

void quantize_and_mark(const float* x, const ElementwiseMap& chosen, float mu, float* out, std::uint16_t* inside,
                       Range elements) {
  const Stream stream(out);
  with_map(chosen, [&](const auto& map) {
    for (std::int64_t i = elements.begin; i < elements.end; i += panel_width) {
      const int width = lanes_from(i, elements.end);
      const Floats values = load<Floats>(x + i, width);
      stream(map.value(argument(map, values, 1.0f)), i, width);
      const Floats size = magnitude(mu * values);
      inside[i / panel_width] = static_cast<std::uint16_t>(bits_at_least(Integers{} - 1, size <= 1.0f));
    }
  });
}

void scale_marked(const std::uint16_t* inside, float mu, const float* g, float* out, Range elements) {
  const Stream stream(out);
  for (std::int64_t i = elements.begin; i < elements.end; i += panel_width) {
    const int width = lanes_from(i, elements.end);
    const Integers set = mask_of_bits(inside[i / panel_width]);
    const Floats scaled = mu * load<Floats>(g + i, width);
    stream(reinterpret_cast<Floats>(reinterpret_cast<Integers>(scaled) & set), i, width);
  }
}

void scale_outputs(float* y, std::int64_t columns, const float* scale, const float* bias, Range rows) {
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    float* at = y + row * columns;
    for (std::int64_t j = 0; j < columns; j += panel_width) {
      const int width = lanes_from(j, columns);
      Floats scaled = load<Floats>(at + j, width) * load<Floats>(scale + j, width);
      if (bias) scaled += load<Floats>(bias + j, width);
      store(scaled, at + j, width);
    }
  }
}

}  // namespace proxconnect::KERNEL_SET
