#include <algorithm>
#include <vector>

#include "drivers/conv.h"
#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/worthwhile.h"

namespace proxconnect {
namespace {

// One axis of a convolution: its outputs, and which taps of each lie within the image.
struct Axis {
  std::int64_t size;
  std::int64_t taps;
  std::int64_t stride;
  std::int64_t padding;
  std::int64_t dilation;
  std::int64_t outputs;
  std::vector<Range> inside;  // of each output
  Range whole{0, 0};          // outputs all of whose taps lie within

  Axis(std::int64_t of_size, std::int64_t of_taps, std::int64_t by_stride, std::int64_t with_padding,
       std::int64_t with_dilation)
      : size(of_size),
        taps(of_taps),
        stride(by_stride),
        padding(with_padding),
        dilation(with_dilation),
        outputs(output_size(size, taps, stride, padding, dilation)),
        inside(static_cast<std::size_t>(outputs)) {
    for (std::int64_t i = 0; i < outputs; ++i) {
      Range& of = inside[static_cast<std::size_t>(i)];
      of.begin = taps_before(i, 0);
      of.end = taps_before(i, size);
      if (of.begin > 0 && whole.begin == i) whole.begin = whole.end = i + 1;
      if (of.begin == 0 && of.end == taps) whole.end = i + 1;
    }
  }

  std::int64_t padded() const { return size + 2 * padding; }

 private:
  // How many taps of an output lie before a pixel.
  std::int64_t taps_before(std::int64_t output, std::int64_t pixel) const {
    const std::int64_t distance = pixel - (output * stride - padding);
    return std::clamp<std::int64_t>((distance + dilation - 1) / dilation, 0, taps);
  }
};

// Lines of an image with room for its padding, as whole words, the channels of each group for themselves.
class PaddedLines {
 public:
  // `lines` are those of the padded image.
  PaddedLines(const SignImages& a, std::int64_t image, const ConvPanels& b, const Axis& y, const Axis& x, bool fill,
              Range lines)
      : pixel_stride(b.channel_words() * 4),
        line_stride(x.padded() * pixel_stride),
        group_stride((lines.end - lines.begin) * line_stride),
        bits_(static_cast<std::size_t>(b.groups * group_stride)) {
    const std::int64_t width = packed_width(b.channels);
    if (fill) fill_with_ones(b.group_channels());
    for (std::int64_t g = 0; g < b.groups; ++g) {
      const Range there{std::max(lines.begin, y.padding), std::min(lines.end, y.padding + y.size)};
      for (std::int64_t line = there.begin; line < there.end; ++line) {
        const std::uint8_t* from = a.bits + ((image * a.height + line - y.padding) * a.width) * width;
        std::uint8_t* to = bits_.data() + g * group_stride + (line - lines.begin) * line_stride;
        copy_pixels(from, width, to + x.padding * pixel_stride, x.size, g * b.group_channels(), b.group_channels());
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

  // Channels first .. first + count of each pixel.
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

// Where the words of the taps lie from an output's first on. Taps side by side make one run.
std::vector<std::int64_t> run_offsets(const ConvPanels& b, const Axis& y, const Axis& x, bool side_by_side) {
  std::vector<std::int64_t> offsets;
  const std::int64_t pixel = b.channel_words() * 4;
  for (std::int64_t ty = 0; ty < y.taps; ++ty) {
    for (std::int64_t tx = 0; tx < (side_by_side ? 1 : x.taps); ++tx) {
      offsets.push_back((ty * y.dilation * x.padded() + tx * x.dilation) * pixel);
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
  check_convolution(a, b, at);
  const Axis y(a.height, b.kernel_y, at.stride_y, at.padding_y, at.dilation_y);
  const Axis x(a.width, b.kernel_x, at.stride_x, at.padding_x, at.dilation_x);
  const std::int64_t k = b.group_channels() * b.taps();
  const bool side_by_side = x.dilation == 1;
  const std::vector<std::int64_t> offsets = run_offsets(b, y, x, side_by_side);
  const std::int64_t run_words = b.channel_words() * (side_by_side ? x.taps : 1);

  const auto compute = [&](Range lines, Range panels) {  // lines of all images
    for (std::int64_t line = lines.begin; line < lines.end;) {
      const std::int64_t image = line / y.outputs;
      const Range some{line % y.outputs, std::min(y.outputs, lines.end - image * y.outputs)};
      const Range read{some.begin * y.stride, (some.end - 1) * y.stride + (y.taps - 1) * y.dilation + 1};
      const PaddedLines padded(a, image, b, y, x, at.fill > 0, read);
      const SignLines rows{padded.bits(),
                           some.end - some.begin,
                           x.outputs,
                           y.stride * padded.line_stride,
                           x.stride * padded.pixel_stride,
                           padded.group_stride,
                           offsets.data(),
                           static_cast<std::int64_t>(offsets.size()),
                           run_words};
      const Borders borders{at.fill == 0 ? b.tap_sums : nullptr,
                            y.taps,
                            x.taps,
                            y.inside.data() + some.begin,
                            x.inside.data(),
                            {y.whole.begin - some.begin, y.whole.end - some.begin},
                            x.whole};
      kernel({rows, b.words, b.panel_words(), b.n, k, b.groups, conv.wrap, conv.output, line * x.outputs, borders},
             panels);
      line += some.end - some.begin;
    }
  };

  const std::int64_t lines = a.count * y.outputs;
  if (lines == 0 || x.outputs == 0) return;
  const std::int64_t panels = b.panels();
  const std::int64_t useful = worthwhile(threads, lines * x.outputs * b.n * k);
  // Lines make even parts where there are many; fewer panels are even too where they are many.
  if (lines >= 8 * useful || panels < lines) {
    parallel_ranges(lines, useful, [&](Range some) { compute(some, {0, panels}); });
  } else {
    parallel_ranges(panels, useful, [&](Range some) { compute({0, lines}, some); });
  }
}

// Outputs of groups that do not begin on a byte: their bits are put together afterwards.
void convolve_bit_by_bit(const W1A1Conv<SignsOutput>& conv, std::int64_t threads) {
  const ConvPanels& b = conv.b;
  const Geometry& at = conv.geometry;
  check_convolution(conv.a, b, at);
  const std::int64_t rows = conv.a.count *
                            output_size(conv.a.height, b.kernel_y, at.stride_y, at.padding_y, at.dilation_y) *
                            output_size(conv.a.width, b.kernel_x, at.stride_x, at.padding_x, at.dilation_x);
  std::vector<std::int32_t> sums(static_cast<std::size_t>(rows * b.n));
  convolve(W1A1Conv<SumsOutput>{conv.a, b, at, conv.wrap, {sums.data()}}, threads);
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
  if (conv.b.groups > 1 && conv.b.n / conv.b.groups % 8) {
    convolve_bit_by_bit(conv, threads);
  } else {
    convolve_signs(conv, threads, active_kernels().w1a1_signs);
  }
}

}  // namespace proxconnect
