// Convolutions of signs: images are copied once, with room for their padding and every pixel as whole words, so that
// the rows of a micro-kernel are neighbouring pixels and each tap is a constant offset.

#include <algorithm>
#include <vector>

#include "drivers/chain.h"
#include "drivers/conv.h"
#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/useful_threads.h"

namespace proxconnect {
namespace {

// The taps of each output along one axis that lie within the image.
struct InsideTaps {
  std::vector<Range> of_output;
  Range whole{0, 0};  // outputs all of whose taps do

  explicit InsideTaps(const ConvAxis& axis) : of_output(static_cast<std::size_t>(axis.outputs())) {
    for (std::int64_t i = 0; i < std::ssize(of_output); ++i) {
      Range& inside = of_output[static_cast<std::size_t>(i)];
      inside = {taps_before(axis, i, 0), taps_before(axis, i, axis.size)};
      if (inside.begin > 0 && whole.begin == i) whole.begin = whole.end = i + 1;
      if (inside.begin == 0 && inside.end == axis.taps) whole.end = i + 1;
    }
  }

 private:
  // Returns how many taps of an output lie before a pixel.
  static std::int64_t taps_before(const ConvAxis& axis, std::int64_t output, std::int64_t pixel) {
    const std::int64_t distance = pixel - (output * axis.stride - axis.padding);
    return std::clamp<std::int64_t>((distance + axis.dilation - 1) / axis.dilation, 0, axis.taps);
  }
};

// Lines of a padded image as whole words, the channels of each group for themselves.
class PaddedLines {
 public:
  // `lines` are those of the padded image.
  PaddedLines(const SignImages& a, std::int64_t image, const ConvPanels& b, const Geometry& at, Range lines)
      : pixel_stride(b.channel_words() * 4),
        line_stride(at.x.padded() * pixel_stride),
        group_stride((lines.end - lines.begin) * line_stride),
        bits_(static_cast<std::size_t>(b.groups * group_stride)) {
    const std::int64_t width = packed_width(b.channels);
    if (at.fill > 0) fill_with_ones(b.group_channels());
    for (std::int64_t g = 0; g < b.groups; ++g) {
      const Range inside{std::max(lines.begin, at.y.padding), std::min(lines.end, at.y.padding + at.y.size)};
      for (std::int64_t line = inside.begin; line < inside.end; ++line) {
        const std::uint8_t* from = a.bits + ((image * at.y.size + line - at.y.padding) * at.x.size) * width;
        std::uint8_t* to = bits_.data() + g * group_stride + (line - lines.begin) * line_stride;
        copy_pixels(from, width, to + at.x.padding * pixel_stride, at.x.size, g * b.group_channels(),
                    b.group_channels());
      }
    }
  }

  const std::uint8_t* bits() const { return bits_.data(); }

  std::int64_t pixel_stride;
  std::int64_t line_stride;
  std::int64_t group_stride;

 private:
  void fill_with_ones(std::int64_t channels) {
    std::vector<std::uint8_t> pixel(static_cast<std::size_t>(pixel_stride));
    for (std::int64_t c = 0; c < channels; ++c) pixel[static_cast<std::size_t>(c / 8)] |= 1 << (c % 8);
    for (auto to = bits_.begin(); to != bits_.end(); to += pixel_stride) std::copy(pixel.begin(), pixel.end(), to);
  }

  // Copies channels first .. first + count of each pixel.
  void copy_pixels(const std::uint8_t* from, std::int64_t width, std::uint8_t* to, std::int64_t pixels,
                   std::int64_t first, std::int64_t count) const {
    if (width == pixel_stride && count == width * 8) {
      std::copy_n(from, pixels * width, to);
      return;
    }
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel, from += width, to += pixel_stride) {
      if (first % 8 == 0) {
        std::copy_n(from + first / 8, packed_width(count), to);
        // The next group's channels may share the last byte.
        if (count % 8) to[count / 8] &= static_cast<std::uint8_t>((1u << (count % 8)) - 1);
      } else {
        std::fill_n(to, packed_width(count), std::uint8_t{0});
        for (std::int64_t c = 0; c < count; ++c) to[c / 8] |= bit_at(from, first + c) << (c % 8);
      }
    }
  }

  std::vector<std::uint8_t> bits_;
};

// Returns where the words of the taps lie from an output's first on. Taps side by side make one run.
std::vector<std::int64_t> run_offsets(const ConvPanels& b, const Geometry& at, bool side_by_side) {
  std::vector<std::int64_t> offsets;
  const std::int64_t pixel = b.channel_words() * 4;
  for (std::int64_t ty = 0; ty < at.y.taps; ++ty) {
    for (std::int64_t tx = 0; tx < (side_by_side ? 1 : at.x.taps); ++tx) {
      offsets.push_back((ty * at.y.dilation * at.x.padded() + tx * at.x.dilation) * pixel);
    }
  }
  return offsets;
}

template <typename Output>
void convolve_signs(const W1A1Conv<Output>& conv, std::int64_t threads,
                    void (*kernel)(const W1A1Part<Output>&, Range)) {
  const SignImages& a = conv.a;
  const ConvPanels& b = conv.b;
  const Geometry& at = conv.geometry;
  check_convolution(conv.a, conv.b, conv.geometry);
  const std::int64_t height = at.y.outputs(), width = at.x.outputs();
  const InsideTaps y_inside(at.y), x_inside(at.x);
  const std::int64_t k = b.group_channels() * b.taps();
  const bool side_by_side = at.x.dilation == 1;
  const std::vector<std::int64_t> offsets = run_offsets(b, at, side_by_side);
  const std::int64_t run_words = b.channel_words() * (side_by_side ? at.x.taps : 1);

  const auto compute = [&](Range lines, Range panels) {  // lines of outputs, of one image after the other
    for (std::int64_t line = lines.begin; line < lines.end;) {
      const std::int64_t image = line / height;
      const Range outputs{line % height, std::min(height, lines.end - image * height)};
      const Range inputs{outputs.begin * at.y.stride, (outputs.end - 1) * at.y.stride + at.y.reach()};
      const PaddedLines padded(a, image, b, at, inputs);
      const SignLines rows{padded.bits(),
                           outputs.end - outputs.begin,
                           width,
                           at.y.stride * padded.line_stride,
                           at.x.stride * padded.pixel_stride,
                           padded.group_stride,
                           offsets.data(),
                           static_cast<std::int64_t>(offsets.size()),
                           run_words};
      const Borders borders{at.fill == 0 ? b.tap_sums : nullptr,
                            at.y.taps,
                            at.x.taps,
                            y_inside.of_output.data() + outputs.begin,
                            x_inside.of_output.data(),
                            {y_inside.whole.begin - outputs.begin, y_inside.whole.end - outputs.begin},
                            x_inside.whole};
      kernel({rows, b.words, b.panel_words(), b.n, k, b.groups, conv.wrap, conv.output, line * width, borders},
             panels);
      line += outputs.end - outputs.begin;
    }
  };

  const std::int64_t lines = a.count * height;
  if (lines == 0 || width == 0) return;
  const std::int64_t panels = b.panels();
  const std::int64_t useful = useful_threads(threads, lines * width * b.n * k);
  // Lines make even parts where there are at least eight for a thread. Otherwise the more numerous are split.
  if (lines >= 8 * useful || panels < lines) {
    parallel_ranges(lines, useful, [&](Range part) { compute(part, {0, panels}); });
  } else {
    parallel_ranges(panels, useful, [&](Range part) { compute({0, lines}, part); });
  }
}

bool begins_on_bytes(const ConvPanels& b) { return b.groups == 1 || b.n / b.groups % 8 == 0; }

// Convolves groups whose outputs do not begin on a byte: their bits are put together from sums afterwards.
void convolve_bit_by_bit(const W1A1Conv<SignsOutput>& conv, std::int64_t threads) {
  const ConvPanels& b = conv.b;
  check_convolution(conv.a, conv.b, conv.geometry);
  const std::int64_t rows = conv.a.count * conv.geometry.outputs();
  std::vector<std::int32_t> sums(static_cast<std::size_t>(rows * b.n));
  convolve(W1A1Conv<SumsOutput>{conv.a, b, conv.geometry, conv.wrap, {sums.data()}}, threads);
  const SignsOutput& output = conv.output;
  std::fill_n(output.out, rows * packed_width(b.n), std::uint8_t{0});
  for (std::int64_t row = 0; row < rows; ++row) {
    std::uint8_t* bits = output.out + row * packed_width(b.n);
    for (std::int64_t j = 0; j < b.n; ++j) {
      const bool bit = (sums[static_cast<std::size_t>(row * b.n + j)] >= output.threshold[j]) != bit_at(output.flip, j);
      bits[j / 8] |= bit << (j % 8);
    }
  }
}

}  // namespace

void convolve(const W1A1Conv<SumsOutput>& conv, std::int64_t threads) {
  convolve_signs(conv, threads, active_kernels().w1a1_sums);
}

void convolve(const W1A1Conv<AffineOutput>& conv, std::int64_t threads) {
  convolve_signs(conv, threads, active_kernels().w1a1_affine);
}

void convolve(const W1A1Conv<SignsOutput>& conv, std::int64_t threads) {
  if (begins_on_bytes(conv.b)) {
    convolve_signs(conv, threads, active_kernels().w1a1_signs);
  } else {
    convolve_bit_by_bit(conv, threads);
  }
}

void convolve(const W1A1Conv<ChainOutput>& conv, std::int64_t threads) {
  if (!conv.output.signs || begins_on_bytes(conv.b)) {
    convolve_signs(conv, threads, active_kernels().w1a1_chain);
    return;
  }
  // Signs are taken from the floats afterwards.
  check_convolution(conv.a, conv.b, conv.geometry);
  const std::int64_t rows = conv.a.count * conv.geometry.outputs(), n = conv.b.n;
  std::vector<float> floats(static_cast<std::size_t>(conv.output.floats ? 0 : rows * n));
  W1A1Conv<ChainOutput> to_floats = conv;
  to_floats.output.signs = nullptr;
  if (!conv.output.floats) to_floats.output.floats = floats.data();
  convolve_signs(to_floats, threads, active_kernels().w1a1_chain);
  chain({to_floats.output.floats, n, rows}, n, {nullptr, conv.output.signs, nullptr, 0, nullptr, nullptr}, threads);
}

}  // namespace proxconnect
