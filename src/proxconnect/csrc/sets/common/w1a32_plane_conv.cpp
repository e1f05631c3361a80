// Convolutions of float32 on planes: lanes are neighbouring outputs, and a tap's inputs for them are neighbours in a
// plane.

#include "sets/common/kernels.h"
#include "sets/common/w1a32_gemm.h"

namespace proxconnect::KERNEL_SET {
namespace {

// One row of the planes of one phase. Its positions first .. end lie in the image, from `from` on, `step` apart; the
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

// Fills the rows of channels that are neighbours in memory, by squares of positions and channels.
void fill_rows(const PlaneRow& row, std::int64_t channel, std::int64_t channels) {
  for (std::int64_t c = channel; c < channel + channels; ++c) {
    float* to = row.to + c * row.plane;
    own::fill_n(to, row.first, 0.0f);
    own::fill_n(to + row.end, row.length - row.end, 0.0f);
  }
  for (std::int64_t next = row.first; next < row.end; next += lanes) {
    // The last square overlaps the one before, so that no square is partial.
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

// Returns how many of `count` steps from `start` on are needed to reach `least`.
std::int64_t steps_to(std::int64_t least, std::int64_t start, std::int64_t step, std::int64_t count) {
  return own::clamp<std::int64_t>((least - start + step - 1) / step, 0, count);
}

// The tables of a group of channels in their order: tap by tap, and in each tap by channels.
class TapTables {
 public:
  TapTables(const W1A32Image& image, std::int64_t group)
      : taps_(image.taps),
        channels_(image.conv.b.group_channels()),
        words_(image.conv.b.channel_words()),
        channel_floats_(image.channel_floats),
        planes_(image.planes + group * channels_ * channel_floats_),
        zeros_(image.planes + image.conv.b.channels * channel_floats_) {}

  // Finds the inputs of the next `count` tables for the output at position 0, and their indices in a panel.
  void next(std::int64_t count, const float** x, TableIndex* indices) {
    for (std::int64_t t = 0; t < count; ++t) {
      const float* first = planes_ + table_ * table_inputs * channel_floats_;
      const std::int64_t left = channels_ - table_ * table_inputs;
      for (std::int64_t i = 0; i < table_inputs; ++i) {
        x[t * table_inputs + i] = (i < left ? first + i * channel_floats_ : zeros_) + taps_[tap_];
      }
      indices[t] = TableIndex(table_, tap_ * words_, words_);
      if (left > table_inputs) {
        ++table_;
      } else {
        table_ = 0;
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
  std::int64_t table_ = 0;
};

// The rows of the output, counted in its image, that lanes belong to.
struct LaneRows {
  std::int64_t pitch;
  std::int64_t width;

  // Finds those of the lanes from `position` on; -1 for none.
  void find(std::int64_t position, std::int64_t end, std::int64_t (&rows)[lanes]) const {
    std::int64_t y = position / pitch;
    std::int64_t column = position % pitch;
    for (int lane = 0; lane < lanes; ++lane) {
      rows[lane] = column < width && position + lane < end ? y * width + column : -1;
      if (++column == pitch) {
        column = 0;
        ++y;
      }
    }
  }
};

}  // namespace

void w1a32_planes(const W1A32Image& image, Range channels) {
  const ConvAxis &vertical = image.conv.geometry.y, &horizontal = image.conv.geometry.x;
  const Images& x = image.conv.x;
  const std::int64_t phases = image.channel_floats / image.plane, phases_x = horizontal.phases();
  const std::int64_t height = image.plane / image.pitch, width = image.pitch;
  for (std::int64_t phase = 0; phase < phases; ++phase) {
    const std::int64_t top = vertical.phase_start(phase / phases_x);
    const std::int64_t left = horizontal.phase_start(phase % phases_x);
    for (std::int64_t i = 0; i < height; ++i) {
      const std::int64_t y = top + i * vertical.stride;
      PlaneRow row{};
      row.length = width;
      row.step = horizontal.stride * x.column_stride;
      row.apart = x.channel_stride;
      row.plane = image.channel_floats;
      row.to = image.planes + (phase * height + i) * width;
      if (y >= 0 && y < vertical.size) {
        row.first = steps_to(0, left, horizontal.stride, row.length);
        row.end = own::max(row.first, steps_to(horizontal.size, left, horizontal.stride, row.length));
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
  const LaneRows lane_rows{image.pitch, image.conv.geometry.x.outputs()};
  const std::int64_t first_row = image.index * image.conv.geometry.outputs();
  const std::int64_t tables = b.taps() * tables_of(b.group_channels());
  const std::int64_t group_outputs = b.n / b.groups;
  const std::int64_t group_panels = panels_of(group_outputs);
  const float* x[max_tables * table_inputs];
  TableIndex indices[max_tables];

  for (Range block{panels.begin, panels.begin}; block.begin < panels.end; block.begin = block.end) {
    const std::int64_t group = block.begin / group_panels;
    block.end = own::min(own::min(block.begin + LaneSums::max_panels, (group + 1) * group_panels), panels.end);
    LaneSums sums({b.words + block.begin * b.panel_words(), b.panel_words(), block.end - block.begin});
    for (Range part{positions.begin, positions.begin}; part.begin < positions.end; part.begin = part.end) {
      part.end = own::min(part.begin + sums.max_tiles() * lanes, positions.end);
      const std::int64_t tiles = (part.end - part.begin + lanes - 1) / lanes;
      sums.clear(tiles);
      TapTables tap_tables(image, group);
      for (std::int64_t first = 0, count; first < tables; first += count) {
        count = sums.next_tables(first, tables);
        tap_tables.next(count, x, indices);
        sums.begin(first, tables, indices, count);
        for (std::int64_t tile = 0; tile < tiles; ++tile) sums.add(tile, x, part.begin + tile * lanes);
      }

      for (std::int64_t tile = 0; tile < tiles; ++tile) {
        std::int64_t rows[lanes];
        lane_rows.find(part.begin + tile * lanes, part.end, rows);
        for (std::int64_t panel = block.begin; panel < block.end; ++panel) {
          const std::int64_t j = (panel - group * group_panels) * panel_width;
          const Place place(first_row, group * group_outputs + j, b.n, group_outputs - j);
          const AffineWriter write(image.conv.output, place);
          write_rows(sums.sums(tile, panel - block.begin), lanes, [&](int lane, const Floats& row) {
            if (rows[lane] >= 0) write(rows[lane], row);
          });
        }
      }
    }
  }
}

}  // namespace proxconnect::KERNEL_SET
