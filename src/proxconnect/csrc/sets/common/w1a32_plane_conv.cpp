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
    float* const to = row.to + channel * row.plane + i;
    if (count == lanes && channels == lanes) {
#pragma GCC unroll 16
      for (int c = 0; c < lanes; ++c) *reinterpret_cast<LanesAnywhere*>(to + c * row.plane) = square[c];
    } else {
      for (std::int64_t c = 0; c < channels; ++c) {
        std::memcpy(to + c * row.plane, &square[c], static_cast<std::size_t>(count) * sizeof(float));
      }
    }
  }
}

// Returns how many of `count` steps from `start` on are needed to reach `least`.
std::int64_t steps_to(std::int64_t least, std::int64_t start, std::int64_t step, std::int64_t count) {
  return own::clamp<std::int64_t>((least - start + step - 1) / step, 0, count);
}

// Lines of outputs: their positions in a plane, and the rows of the output that they are.
struct Lines {
  std::int64_t first, pitch;          // of positions
  std::int64_t first_row, row_pitch;  // of rows
  std::int64_t count, width;

  Lines(const W1A32Image& image, Range lines, Range columns)
      : first(lines.begin * image.pitch + columns.begin),
        pitch(image.pitch),
        first_row(lines.begin * image.conv.geometry.x.outputs() + columns.begin),
        row_pitch(image.conv.geometry.x.outputs()),
        count(lines.end - lines.begin),
        width(columns.end - columns.begin),
        last_width_(width) {
    if (image.conv.b.taps() > 1) return;
    // Positions and rows of neighbouring lines follow each other: they make lines of one vector each.
    const std::int64_t all = (count - 1) * pitch + width;
    pitch = row_pitch = width = lanes;
    count = (all + lanes - 1) / lanes;
    last_width_ = all - (count - 1) * lanes;
  }

  std::int64_t width_of(std::int64_t line) const { return line + 1 < count ? width : last_width_; }

 private:
  std::int64_t last_width_;
};

// The tables of some fives of channels for what a strip of outputs of a line reads. A position has one
// table for all taps: entry e of neighbouring positions lies side by side, and taps read such rows from different
// places on. As many lines of a plane are kept as a line of outputs reads, one slot each.
class StripTables {
 public:
  StripTables(const W1A32Image& image, std::int64_t group)
      : image_(image),
        taps_y_(image.conv.geometry.y.taps),
        taps_x_(image.conv.geometry.x.taps),
        channels_(image.conv.b.group_channels()),
        planes_(image.planes + group * channels_ * image.channel_floats),
        zeros_(image.planes + image.conv.b.channels * image.channel_floats),
        rows_(scratch<Scratch::steps, Row>(taps_y_)),
        columns_(scratch<Scratch::starts, Column>(taps_x_)),
        order_(scratch<Scratch::plane, std::int64_t>(taps_x_)) {
    const ConvAxis &vertical = image.conv.geometry.y, &horizontal = image.conv.geometry.x;
    const std::int64_t phase_floats = horizontal.phases() * image.plane;
    for (std::int64_t tap = 0; tap < taps_y_; ++tap) {
      const std::int64_t phase = vertical.phase(tap), shift = vertical.shift(tap);
      rows_[tap] = {shift, phase * phase_floats + shift * image.pitch, phase, shift + 1, 0};
    }
    // Taps of one phase share slots, as many as they reach lines.
    for (std::int64_t tap = 0; tap < taps_y_; ++tap) {
      bool is_first = true;
      std::int64_t first_slot = slots_, slots = rows_[tap].slots;
      for (std::int64_t other = 0; other < taps_y_; ++other) {
        if (rows_[other].phase != rows_[tap].phase) continue;
        if (other < tap) {
          is_first = false;
          first_slot = rows_[other].first_slot;
        }
        slots = own::max(slots, rows_[other].slots);
      }
      rows_[tap].slots = slots;
      rows_[tap].first_slot = first_slot;
      if (is_first) slots_ += slots;
    }
    for (std::int64_t tap = 0; tap < taps_x_; ++tap) {
      columns_[tap].offset = horizontal.phase(tap) * image.plane + horizontal.shift(tap);
      std::int64_t i = tap;
      for (; i > 0 && columns_[order_[i - 1]].offset > columns_[tap].offset; --i) order_[i] = order_[i - 1];
      order_[i] = tap;
    }
    for (std::int64_t i = 0; i < taps_x_; ++i) columns_[i].tap = order_[i];
  }

  std::int64_t fives() const { return tables_of(channels_); }

  // Lays tables out for a strip of `span` outputs. Returns the bytes of those of a five.
  std::int64_t lay_out(std::int64_t span) {
    five_floats_ = 0;
    for (std::int64_t first = 0, end; first < taps_x_; first = end) {
      const std::int64_t begin = sorted(first).offset;
      // Taps share a row of positions if they are nearer to each other than the strip is wide.
      for (end = first + 1; end < taps_x_; ++end) {
        const std::int64_t offset = sorted(end).offset;
        if (offset - sorted(end - 1).offset >= span || offset - begin + span > max_length) break;
      }
      const std::int64_t length = (sorted(end - 1).offset - begin + span + lanes - 1) / lanes * lanes;
      for (std::int64_t i = first; i < end; ++i) {
        sorted(i).pitch = length;
        sorted(i).place = five_floats_ + sorted(i).offset - begin;
        sorted(i).is_first = i == first;
      }
      five_floats_ += table_entries * length;
    }
    return slots_ * five_floats_ * static_cast<std::int64_t>(sizeof(float));
  }

  // Makes room for the tables of `count` fives, and forgets all.
  void begin(std::int64_t count) {
    count_ = count;
    made_ = scratch<Scratch::groups, std::int64_t>(slots_);
    own::fill_n(made_, slots_, std::int64_t{-1});
    // Tables begin where a line of the cache does.
    auto* const room = scratch<Scratch::inputs, float>(slots_ * count_ * five_floats_ + panel_width);
    const auto place = reinterpret_cast<std::uintptr_t>(room) / sizeof(float) % panel_width;
    tables_ = room + (panel_width - static_cast<std::int64_t>(place)) % panel_width;
  }

  // From one entry to the next in the tables of a tap, in floats.
  std::int64_t entry_pitch(std::int64_t tap_x) const { return columns_[tap_x].pitch; }

  // Makes what is missing of the tables of `five` and those after it for a line of outputs, number `line` of all, whose
  // strip begins at a position. Sets to[i * taps + tap] to where a tap reads of five i for the first output.
  void make(std::int64_t five, std::int64_t line, std::int64_t position, const float** to) {
    for (std::int64_t y = 0; y < taps_y_; ++y) {
      const Row& row = rows_[y];
      const std::int64_t here = line + row.shift;
      const std::int64_t slot =
          row.first_slot + static_cast<std::uint32_t>(here) % static_cast<std::uint32_t>(row.slots);
      float* const tables = tables_ + slot * count_ * five_floats_;
      if (made_[slot] != here) {
        made_[slot] = here;
        for (std::int64_t i = 0; i < count_; ++i) make_line(five + i, row.offset + position, tables + i * five_floats_);
      }
      for (std::int64_t i = 0; i < count_; ++i) {
        const float** const of_five = to + (i * taps_y_ + y) * taps_x_;
        for (std::int64_t x = 0; x < taps_x_; ++x) of_five[x] = tables + i * five_floats_ + columns_[x].place;
      }
    }
  }

 private:
  static constexpr std::int64_t max_length = 2048 - lanes;  // so that places of entries fit 16 bits

  // A tap of a column of the kernel: how many lines of its phase it reads further than its output is, how far its line
  // lies in the planes from the output's position, and the slots of its phase.
  struct Row {
    std::int64_t shift, offset, phase, slots, first_slot;
  };
  // A tap of a row of the kernel: how far it lies from its output's position, where it reads in the tables of a five,
  // and how far the entries of these are apart. `tap` is another: the one that comes here in the order of offsets.
  struct Column {
    std::int64_t offset, place, pitch, tap;
    bool is_first;  // of those that share a row of positions
  };

  Column& sorted(std::int64_t i) const { return columns_[columns_[i].tap]; }

  void make_line(std::int64_t five, std::int64_t from, float* tables) const {
    const float* const channel = planes_ + five * table_inputs * image_.channel_floats + from;
    const std::int64_t left = channels_ - five * table_inputs;
    for (std::int64_t i = 0; i < taps_x_; ++i) {
      const Column& column = columns_[i];
      if (!column.is_first) continue;
      const float* x[table_inputs];
      for (std::int64_t c = 0; c < table_inputs; ++c) {
        x[c] = (c < left ? channel + c * image_.channel_floats : zeros_ + from) + column.offset;
      }
      float* const table = tables + column.place;
      for (std::int64_t at = 0; at < column.pitch; at += lanes) make_lane_table(x, at, table + at, column.pitch);
    }
  }

  const W1A32Image& image_;
  std::int64_t taps_y_, taps_x_, channels_;
  const float* planes_;
  const float* zeros_;
  Row* rows_;
  Column* columns_;
  std::int64_t* order_;
  std::int64_t* made_ = nullptr;  // the line in each slot
  std::int64_t slots_ = 0, five_floats_ = 0, count_ = 0;
  float* tables_ = nullptr;
};

// What some fives are in the order of all: the first and the last ones of their K-block, and in the first K-block.
struct Pass {
  bool begins, ends, is_first;
};

// The micro-kernel: adds the entries that `kernel_outputs` outputs choose in each of `count` tables, from place `at`
// on, to the sums of their K-block, and these to `sums` at its end.
[[gnu::noinline]] void add_shared_entries(const float* const* tables, std::int64_t at, const std::uint16_t* entries,
                                          std::int64_t count, const Pass& pass, Lanes* block_sums, Lanes* sums) {
  Lanes sum[kernel_outputs];
#pragma GCC unroll 16
  for (int j = 0; j < kernel_outputs; ++j) sum[j] = pass.begins ? Lanes{} : block_sums[j];
  for (std::int64_t t = 0; t < count; ++t, entries += panel_width) {
    const float* table = tables[t] + at;
#pragma GCC unroll 16
    for (int j = 0; j < kernel_outputs; ++j) sum[j] += *reinterpret_cast<const LanesAnywhere*>(table + entries[j]);
  }
  if (pass.ends) {
#pragma GCC unroll 16
    for (int j = 0; j < kernel_outputs; ++j) sums[j] = (pass.is_first ? Lanes{} : sums[j]) + sum[j];
  } else {
#pragma GCC unroll 16
    for (int j = 0; j < kernel_outputs; ++j) block_sums[j] = sum[j];
  }
}

// Finds the places, in floats, of the entries that the outputs of a panel choose at each tap of `count` fives.
void find_shared_entries(const ConvPanels& b, const std::uint32_t* panel, std::int64_t five, std::int64_t count,
                         const StripTables& tables, std::uint16_t* entries) {
  using Narrow = std::uint16_t __attribute__((vector_size(panel_width * sizeof(std::uint16_t))));
  const std::int64_t words = b.channel_words();
  for (std::int64_t i = five; i < five + count; ++i) {
    for (std::int64_t tap = 0, x = 0; tap < b.taps(); ++tap, entries += panel_width) {
      const std::int32_t pitch = static_cast<std::int32_t>(tables.entry_pitch(x));
      x = x + 1 < b.kernel_x ? x + 1 : 0;
      const Integers bits = TableIndex(i, tap * words, words).bits(panel) & static_cast<int>(table_entries - 1);
      const Narrow found = __builtin_convertvector(bits * pitch, Narrow);
      std::memcpy(entries, &found, sizeof found);
    }
  }
}

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

void w1a32_conv(const W1A32Image& image, Range of_lines, Range columns, Range panels) {
  constexpr std::int64_t max_sums = 256;            // vectors of a panel whose sums stay in a cache
  constexpr std::int64_t table_bytes = 12 << 10;  // of tables in use at a time, where that is possible
  const ConvPanels& b = image.conv.b;
  const std::int64_t first_row = image.index * image.conv.geometry.outputs();
  const std::int64_t group_outputs = b.n / b.groups, group_panels = panels_of(group_outputs);
  const std::int64_t taps = b.taps(), whole = block_fives(taps);
  const Lines lines(image, of_lines, columns);
  const std::int64_t line_tiles = (lines.width + lanes - 1) / lanes;

  for (Range block{panels.begin, panels.begin}; block.begin < panels.end; block.begin = block.end) {
    const std::int64_t group = block.begin / group_panels;
    block.end = own::min(own::min(block.begin + LaneSums::max_panels, (group + 1) * group_panels), panels.end);
    const std::int64_t width = block.end - block.begin;
    StripTables tables(image, group);

    // Strips are as wide, and then passes as long, as their tables fit.
    std::int64_t strip = 1;
    while (strip < line_tiles && tables.lay_out((strip + 1) * lanes) <= table_bytes) ++strip;
    const std::int64_t strips = (line_tiles + strip - 1) / strip;
    strip = (line_tiles + strips - 1) / strips;  // all are about as wide
    const std::int64_t five_bytes = tables.lay_out(strip * lanes);
    std::int64_t pass = own::min(whole, tables.fives());
    while (pass > 1 && pass * five_bytes > table_bytes) pass = (pass + 1) / 2;
    const std::int64_t part_lines = own::clamp<std::int64_t>(max_sums / (width * strip), 1, lines.count);

    auto* const sums = scratch<Scratch::sums, Lanes>(2 * part_lines * strip * width * panel_width);
    Lanes* const block_sums = sums + part_lines * strip * width * panel_width;
    auto* const entries = scratch<Scratch::weights, std::uint16_t>(width * pass * taps * panel_width);
    const float** const sources = scratch<Scratch::steps, const float*>(pass * taps);

    for (Range part{0, 0}; part.begin < lines.count; part.begin = part.end) {
      part.end = own::min(part.begin + part_lines, lines.count);
      for (std::int64_t column = 0; column < lines.width; column += strip * lanes) {
        const std::int64_t tiles = own::min(strip, (lines.width - column + lanes - 1) / lanes);
        for (std::int64_t five = 0, count; five < tables.fives(); five += count) {
          const std::int64_t block_end = own::min((five / whole + 1) * whole, tables.fives());
          count = own::min(pass, block_end - five);
          const Pass kind{five % whole == 0, five + count == block_end, five < whole};
          const std::int64_t steps = count * taps;
          for (std::int64_t p = 0; p < width; ++p) {
            find_shared_entries(b, b.words + (block.begin + p) * b.panel_words(), five, count, tables,
                                entries + p * steps * panel_width);
          }
          tables.begin(count);
          Lanes *block_sum = block_sums, *sum = sums;
          for (std::int64_t line = part.begin; line < part.end; ++line) {
            tables.make(five, line, lines.first + line * lines.pitch + column, sources);
            for (std::int64_t tile = 0; tile < tiles; ++tile) {
              const std::uint16_t* of_panel = entries;
              for (std::int64_t p = 0; p < width; ++p, of_panel += steps * panel_width) {
                for (int j = 0; j < panel_width; j += kernel_outputs) {
                  add_shared_entries(sources, tile * lanes, of_panel + j, steps, kind, block_sum, sum);
                  block_sum += kernel_outputs;
                  sum += kernel_outputs;
                }
              }
            }
          }
        }

        const Lanes* sum = sums;
        for (std::int64_t line = part.begin; line < part.end; ++line) {
          for (std::int64_t tile = 0; tile < tiles; ++tile) {
            const std::int64_t x = column + tile * lanes;
            const int count = static_cast<int>(own::clamp<std::int64_t>(lines.width_of(line) - x, 0, lanes));
            const std::int64_t row = first_row + lines.first_row + line * lines.row_pitch + x;
            for (std::int64_t p = 0; p < width; ++p, sum += panel_width) {
              const std::int64_t j = (block.begin + p - group * group_panels) * panel_width;
              const Place place(row, group * group_outputs + j, b.n, group_outputs - j);
              const AffineWriter write(image.conv.output, place);
              write_rows(sum, count, [&](int lane, const Floats& y) { write(lane, y); });
            }
          }
        }
      }
    }
  }
}

}  // namespace proxconnect::KERNEL_SET
