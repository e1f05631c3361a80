// Checks convolutions, and the packing of images.

#include "checks.h"
#include "drivers/conv.h"
#include "drivers/packing.h"

namespace {

// Sizes of images, how a convolution moves over them, and its weight.
struct Convolution {
  int64_t count, height, width, channels, n, kernel_y, kernel_x, groups;
  Geometry at;
  std::vector<std::uint32_t> words;
  std::vector<std::int32_t> tap_sums;

  explicit Convolution(CaseFile& file) {
    for (int64_t* size : {&count, &height, &width, &channels, &n, &kernel_y, &kernel_x, &groups, &at.y.stride,
                          &at.x.stride, &at.y.padding, &at.x.padding, &at.y.dilation, &at.x.dilation, &at.fill}) {
      *size = file.number();
    }
    at.y.size = height;
    at.x.size = width;
    at.y.taps = kernel_y;
    at.x.taps = kernel_x;
    const auto bits = file.array<std::uint8_t>();
    const ConvPanels b = panels(nullptr, nullptr);
    words.resize(static_cast<std::size_t>(b.panels() * b.panel_words()));
    tap_sums.resize(static_cast<std::size_t>(b.panels() * (kernel_y + 1) * (kernel_x + 1) * panel_width));
    make_conv_panels(bits.data(), packed_width(b.group_channels() * b.taps()), b, words.data(), tap_sums.data());
  }

  ConvPanels panels(const std::uint32_t* with_words, const std::int32_t* with_tap_sums) const {
    return {with_words, with_tap_sums, n, channels, kernel_y, kernel_x, groups};
  }
  std::string described(const char* what) const {
    return ::described(what, count * height * width, n, channels) + ", groups = " + std::to_string(groups) +
           ", kernel = " + std::to_string(kernel_y) + ", fill = " + std::to_string(at.fill);
  }
};

struct GuardedPanels {
  Guarded<std::uint32_t> words;
  Guarded<std::int32_t> tap_sums;
  ConvPanels panels;

  GuardedPanels(const Convolution& conv, Edge edge)
      : words(conv.words, edge), tap_sums(conv.tap_sums, edge), panels(conv.panels(words.get(), tap_sums.get())) {}
};

struct SignOperand : Guarded<std::uint8_t> {
  SignImages images;

  SignOperand(const std::vector<std::uint8_t>& a, const Convolution& conv, Edge edge)
      : Guarded(a, edge), images{get(), conv.count} {}
};

// Every image between pages of its own, its pixels or its channels dense.
struct FloatOperand : Guarded<float> {
  Images images;

  FloatOperand(const std::vector<float>& x, bool dense_channels, const Convolution& conv, Edge edge)
      : Guarded(x, conv.channels * conv.height * conv.width, edge),
        images{get(), conv.count, conv.channels, stride(), conv.height * conv.width, conv.width, 1} {
    if (dense_channels) {
      images.channel_stride = 1;
      images.row_stride = conv.width * conv.channels;
      images.column_stride = conv.channels;
    }
  }
};

void check_pack_planes(CaseFile& file) {
  const int64_t count = file.number();
  const int64_t channels = file.number();
  const int64_t pixels = file.number();
  const auto x = file.array<float>();
  const bool nan = file.number() != 0;
  const auto expected = file.array<std::uint8_t>();
  const std::string what = described("pack_planes", count, pixels, channels);
  check(what, expected, [&](std::uint8_t* bits, Run run) {
    const Guarded<float> planes(x, run.edge);
    const bool found = pack_planes(planes.get(), count, channels, pixels, bits, run.threads);
    expect(found == nan, what + " takes numbers for NaNs, or the reverse");
    if (nan) std::memcpy(bits, expected.data(), expected.size());  // unspecified
  });
}

void check_w1a1_conv_sums(CaseFile& file) {
  const Convolution conv(file);
  const bool wrap = file.number() != 0;
  const auto a = file.array<std::uint8_t>();
  check(conv.described("w1a1_conv_sums"), file.array<std::int32_t>(), [&](std::int32_t* out, Run run) {
    const GuardedPanels b(conv, run.edge);
    const SignOperand from(a, conv, run.edge);
    convolve(W1A1Conv<SumsOutput>{from.images, b.panels, conv.at, wrap, {out}}, run.threads);
  });
}

void check_w1a1_conv_affine(CaseFile& file) {
  const Convolution conv(file);
  const bool wrap = file.number() != 0;
  const auto a = file.array<std::uint8_t>();
  const Affine affine(file);
  check(conv.described("w1a1_conv_affine"), file.array<float>(), [&](float* out, Run run) {
    const GuardedPanels b(conv, run.edge);
    const SignOperand from(a, conv, run.edge);
    const GuardedAffine finish(affine, run.edge);
    convolve(W1A1Conv<AffineOutput>{from.images, b.panels, conv.at, wrap, finish.output(out)}, run.threads);
  });
}

void check_w1a1_conv_signs(CaseFile& file) {
  const Convolution conv(file);
  const bool wrap = file.number() != 0;
  const auto a = file.array<std::uint8_t>();
  const auto threshold = file.array<std::int32_t>();
  const auto flip = file.array<std::uint8_t>();
  check(conv.described("w1a1_conv_signs"), file.array<std::uint8_t>(), [&](std::uint8_t* out, Run run) {
    const GuardedPanels b(conv, run.edge);
    const SignOperand from(a, conv, run.edge);
    const Guarded<std::int32_t> thresholds(threshold, run.edge);
    const Guarded<std::uint8_t> flips(flip, run.edge);
    const SignsOutput output{out, thresholds.get(), flips.get()};
    convolve(W1A1Conv<SignsOutput>{from.images, b.panels, conv.at, wrap, output}, run.threads);
  });
}

void check_w1a8_conv(CaseFile& file) {
  const Convolution conv(file);
  const bool dense_channels = file.number() != 0;
  const auto x = file.array<float>();
  const Affine affine(file);
  const bool finite = file.number() != 0;
  const auto expected = file.array<float>();
  const std::string what = conv.described("w1a8_conv");
  check(what, expected, [&](float* out, Run run) {
    const GuardedPanels b(conv, run.edge);
    const FloatOperand from(x, dense_channels, conv, run.edge);
    const GuardedAffine finish(affine, run.edge);
    const bool found = convolve(W1A8Conv{from.images, b.panels, conv.at, finish.output(out)}, run.threads);
    expect(found == finite, what + " takes numbers for infinities, or the reverse");
    if (!finite) std::memcpy(out, expected.data(), expected.size() * sizeof(float));  // unspecified
  });
}

void check_w1a32_conv(CaseFile& file) {
  const Convolution conv(file);
  const bool dense_channels = file.number() != 0;
  const auto x = file.array<float>();
  const Affine affine(file);
  check(conv.described("w1a32_conv"), file.array<float>(), [&](float* out, Run run) {
    const GuardedPanels b(conv, run.edge);
    const FloatOperand from(x, dense_channels, conv, run.edge);
    const GuardedAffine finish(affine, run.edge);
    convolve(W1A32Conv{from.images, b.panels, conv.at, finish.output(out)}, run.threads);
  });
}

}  // namespace

Checks conv_checks() {
  return {{"pack_planes", check_pack_planes},           {"w1a1_conv_sums", check_w1a1_conv_sums},
          {"w1a1_conv_affine", check_w1a1_conv_affine}, {"w1a1_conv_signs", check_w1a1_conv_signs},
          {"w1a8_conv", check_w1a8_conv},               {"w1a32_conv", check_w1a32_conv}};
}
