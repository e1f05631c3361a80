// Convolutions of float32: lanes are outputs in a row, and a tap's inputs for them lie in a row of a plane.

#include "sets/common/kernels.h"
#include "sets/common/w1a32_gemm.h"

namespace proxconnect::KERNEL_SET {
namespace {

// One row of the planes of one phase: its positions first .. end lie in the image, from `from` on, `step` apart; the
// others, up to `length`, are zeros. Channels are `apart` in the image and `plane` in the planes.
struct PlaneRow {
  std::int64_t length, first, end;
  const float* from;
  std::int64_t step, apart;
  float* to;
  std::int64_t plane;
};

void fill_row(const PlaneRow& row, std::int64_t channel) {
  const float* from = row.from + channel * row.apart;
  float* to = row.to + channel * row.plane;
  own::fill_n(to, row.first, 0.0f);
  if (row.step == 1) {
    own::copy_n(from, row.end - row.first, to + row.first);
  } else {
    for (std::int64_t i = row.first; i < row.end; ++i) to[i] = from[(i - row.first) * row.step];
  }
  own::fill_n(to + row.end, row.length - row.end, 0.0f);
}

// The same for neighbouring channels that are neighbours in memory: by squares of positions and channels.
void fill_rows(const PlaneRow& row, std::int64_t channel, std::int64_t channels) {
  for (std::int64_t c = channel; c < channel + channels; ++c) {
    float* to = row.to + c * row.plane;
    own::fill_n(to, row.first, 0.0f);
    own::fill_n(to + row.end, row.length - row.end, 0.0f);
  }
  for (std::int64_t next = row.first; next < row.end; next += lanes) {
    // The last square overlaps the one before rather than being a part of one.
    const std::int64_t i = own::max(own::min(next, row.end - lanes), row.first);
    const std::int64_t count = own::min<std::int64_t>(row.end - i, lanes);
    Lanes square[lanes];
    load_rows(row.from + (i - row.first) * row.step + channel, row.step, count, channels, square);
    transpose<lanes>(square);
    for (std::int64_t c = 0; c < channels; ++c) {
      float* to = row.to + (channel + c) * row.plane + i;
      if (count == lanes) {
        std::memcpy(to, &square[c], sizeof square[c]);
      } else {
        std::memcpy(to, &square[c], static_cast<std::size_t>(count) * sizeof(float));
      }
    }
  }
}

// How many of `count` steps from `start` on are needed to reach `least`.
std::int64_t steps_to(std::int64_t least, std::int64_t start, std::int64_t step, std::int64_t count) {
  return own::clamp<std::int64_t>((least - start + step - 1) / step, 0, count);
}

// The fives of a group of channels, one after the other: tap by tap, and in each the channels.
class TapFives {
 public:
  TapFives(const W1A32Image& image, std::int64_t group)
      : taps_(image.taps),
        channels_(image.conv.b.group_channels()),
        words_(image.conv.b.channel_words()),
        channel_floats_(image.channel_floats()),
        planes_(image.planes + group * channels_ * channel_floats_),
        zeros_(image.planes + image.conv.b.channels * channel_floats_) {}

  // Of the next `count` fives, where the inputs of the output at position 0 are, and where their signs are in a panel.
  void next(std::int64_t count, const float** x, FivePlace* places) {
    for (std::int64_t f = 0; f < count; ++f) {
      const float* first = planes_ + five_ * five * channel_floats_;
      const std::int64_t left = channels_ - five_ * five;
      for (std::int64_t i = 0; i < five; ++i) {
        x[f * five + i] = (i < left ? first + i * channel_floats_ : zeros_) + taps_[tap_];
      }
      places[f] = FivePlace(five_, tap_ * words_, words_);
      if (left > five) {
        ++five_;
      } else {
        five_ = 0;
        ++tap_;
      }
    }
  }

 private:
  const std::int64_t* taps_;
  std::int64_t channels_;
  std::int64_t words_;
  std::int64_t channel_floats_;
  const float* planes_;
  const float* zeros_;
  std::int64_t tap_ = 0;
  std::int64_t five_ = 0;
};

// The rows of the output, counted in its image, that the lanes from `position` on belong to; -1 for none.
void find_rows(const W1A32Image& image, std::int64_t position, std::int64_t end, std::int64_t (&rows)[lanes]) {
  const std::int64_t width = image.horizontal.output;
  std::int64_t y = position / image.pitch();
  std::int64_t column = position % image.pitch();
  for (int lane = 0; lane < lanes; ++lane) {
    rows[lane] = column < width && position + lane < end ? y * width + column : -1;
    if (++column == image.pitch()) {
      column = 0;
      ++y;
    }
  }
}

}  // namespace

void w1a32_planes(const W1A32Image& image, Range channels) {
  const ConvAxis& vertical = image.vertical;
  const ConvAxis& horizontal = image.horizontal;
  const Images& x = image.conv.x;
  for (std::int64_t phase = 0; phase < vertical.phases() * horizontal.phases(); ++phase) {
    const std::int64_t top = vertical.start(phase / horizontal.phases());
    const std::int64_t left = horizontal.start(phase % horizontal.phases());
    for (std::int64_t i = 0; i < vertical.length(); ++i) {
      const std::int64_t y = top + i * vertical.stride;
      PlaneRow row{};
      row.length = horizontal.length();
      row.step = horizontal.stride * x.column_stride;
      row.apart = x.channel_stride;
      row.plane = image.channel_floats();
      row.to = image.planes + phase * image.plane() + i * image.pitch();
      if (y >= 0 && y < x.height) {
        row.first = steps_to(0, left, horizontal.stride, row.length);
        row.end = own::max(row.first, steps_to(x.width, left, horizontal.stride, row.length));
        row.from = x.values + image.index * x.image_stride + y * x.row_stride +
                   (left + row.first * horizontal.stride) * x.column_stride;
      }
      if (row.apart == 1) {
        for (std::int64_t c = channels.begin; c < channels.end; c += lanes) {
          fill_rows(row, c, own::min<std::int64_t>(channels.end - c, lanes));
        }
      } else {
        for (std::int64_t c = channels.begin; c < channels.end; ++c) fill_row(row, c);
      }
    }
  }
}

void w1a32_conv(const W1A32Image& image, Range positions, Range panels) {
  const ConvPanels& b = image.conv.b;
  const std::int64_t fives = b.taps() * fives_of(b.group_channels());
  const std::int64_t group_outputs = b.n / b.groups;
  const std::int64_t group_panels = panels_of(group_outputs);
  const float* x[most_fives * five];
  FivePlace places[most_fives];

  for (Range some{panels.begin, panels.begin}; some.begin < panels.end; some.begin = some.end) {
    const std::int64_t group = some.begin / group_panels;
    some.end = own::min(own::min(some.begin + LaneSums::most_panels, (group + 1) * group_panels), panels.end);
    LaneSums sums({b.words + some.begin * b.panel_words(), b.panel_words(), some.end - some.begin});
    for (Range part{positions.begin, positions.begin}; part.begin < positions.end; part.begin = part.end) {
      part.end = own::min(part.begin + sums.most_turns() * lanes, positions.end);
      const std::int64_t turns = (part.end - part.begin + lanes - 1) / lanes;
      sums.clear(turns);
      TapFives all(image, group);
      for (std::int64_t first = 0, count; first < fives; first += count) {
        count = sums.next_fives(first, fives);
        all.next(count, x, places);
        sums.begin(first, fives, places, count);
        for (std::int64_t turn = 0; turn < turns; ++turn) {
          sums.add(turn, x, part.begin + turn * lanes);
        }
      }

      for (std::int64_t turn = 0; turn < turns; ++turn) {
        std::int64_t rows[lanes];
        find_rows(image, part.begin + turn * lanes, part.end, rows);
        for (std::int64_t panel = some.begin; panel < some.end; ++panel) {
          const std::int64_t j = (panel - group * group_panels) * panel_width;
          const Place place(image.index * image.vertical.output * image.horizontal.output, group * group_outputs + j,
                            b.n, group_outputs - j);
          const AffineWriter write(image.conv.output, place);
          sums.take(turn, panel - some.begin, lanes, [&](int lane, const Floats& row) {
            if (rows[lane] >= 0) write(rows[lane], row);
          });
        }
      }
    }
  }
}

}  // namespace proxconnect::KERNEL_SET
