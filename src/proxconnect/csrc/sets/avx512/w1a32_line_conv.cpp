// Convolutions of float32, line by line: lanes are the outputs of a panel, and the tables of a pixel serve every tap
// that reads it.

#include <utility>

#include "sets/avx512/w1a32_look_up.h"
#include "sets/common/kernels.h"
#include "sets/common/outputs.h"

namespace proxconnect::avx512 {
namespace {

struct alignas(64) Table {
  float entries[table_entries];
};

// The tables of a padded image's lines, for one group of channels, pixel by pixel. There is room for the lines that one
// line of outputs reads.
class LineTables {
 public:
  explicit LineTables(const W1A32Conv& conv)
      : x_(conv.x),
        at_(conv.geometry),
        channels_(conv.b.group_channels()),
        pixel_tables_(tables_of(channels_)),
        width_(at_.x.padded()),
        room_(at_.y.reach()),
        tables_(conv.line_tables()) {}

  std::int64_t pixel_tables() const { return pixel_tables_; }

  // Turns to a group of channels of an image.
  void begin(std::int64_t image, std::int64_t group) {
    first_ = x_.values + image * x_.image_stride + group * channels_ * x_.channel_stride;
    made_ = 0;
  }

  // Makes what is missing of the last lines up to `end`.
  void make_up_to(std::int64_t end) {
    for (made_ = own::max(made_, end - room_); made_ < end; ++made_) make(made_);
  }

  const Table* at(std::int64_t line, std::int64_t column) const {
    return tables_.data() + (line % room_ * width_ + column) * pixel_tables_;
  }

 private:
  void make(std::int64_t line) {
    Table* to = tables_.data() + line % room_ * width_ * pixel_tables_;
    const std::int64_t y = line - at_.y.padding;
    if (y < 0 || y >= at_.y.size) {
      own::fill_n(to, width_ * pixel_tables_, Table{});
      return;
    }
    to = own::fill_n(to, at_.x.padding * pixel_tables_, Table{});
    const float* pixel = first_ + y * x_.row_stride;
    for (std::int64_t column = 0; column < at_.x.size; ++column, pixel += x_.column_stride) {
      for (std::int64_t c = 0; c < channels_; c += table_inputs, ++to) make_pixel_table(pixel, c, to->entries);
    }
    own::fill_n(to, at_.x.padding * pixel_tables_, Table{});
  }

  void make_pixel_table(const float* pixel, std::int64_t channel, float* table) const {
    if (x_.channel_stride == 1 && channel + table_inputs <= channels_) {
      make_table(pixel + channel, table);
      return;
    }
    float inputs[table_inputs] = {};
    for (std::int64_t i = 0; i < table_inputs && channel + i < channels_; ++i) {
      inputs[i] = pixel[(channel + i) * x_.channel_stride];
    }
    make_table(inputs, table);
  }

  const Images& x_;
  const Geometry& at_;
  std::int64_t channels_, pixel_tables_, width_, room_;
  own::Array<Table> tables_;
  const float* first_ = nullptr;
  std::int64_t made_ = 0;
};

// One table of a tap: where it is for the first column of outputs, and where its indices are in a panel.
struct Step {
  const Table* tables;
  std::int32_t word, next;
  std::int32_t shift;
};

// The sums of `columns` neighbouring outputs, whose tables are `apart`, and of panels that are `stride` words apart.
template <int columns, int panels>
using Sums = __m512[columns * panels];

template <int columns, int panels, int column>
[[gnu::always_inline]] inline void add_column(const Table* table, const __m512i (&entry)[panels],
                                              Sums<columns, panels>& sum) {
  const __m512 low = _mm512_load_ps(table->entries);
  const __m512 high = _mm512_load_ps(table->entries + 16);
#pragma GCC unroll 8
  for (int p = 0; p < panels; ++p) {
    __m512& to = sum[column * panels + p];
    to = _mm512_add_ps(to, look_up(entry[p], low, high));
  }
}

template <int columns, int panels, int... column>
[[gnu::always_inline]] inline void add_step(std::integer_sequence<int, column...>, const Table* tables,
                                            std::int64_t apart, const __m512i (&entry)[panels],
                                            Sums<columns, panels>& sum) {
  (add_column<columns, panels, column>(tables + column * apart, entry, sum), ...);
}

template <int columns, int panels>
void micro_kernel(const own::Array<Step>& steps, std::int64_t block_steps, std::int64_t first_table,
                  std::int64_t apart, const std::uint32_t* panel, std::int64_t stride, Floats* sums) {
  const Step* const end = steps.data() + steps.size();
  for (const Step* step = steps.data(); step < end;) {
    Sums<columns, panels> sum;
#pragma GCC unroll 32
    for (int i = 0; i < columns * panels; ++i) sum[i] = _mm512_setzero_ps();
    for (const Step* const block_end = own::min(step + block_steps, end); step < block_end; ++step) {
      const __m512i down = _mm512_set1_epi32(step->shift);
      __m512i entry[panels];
#pragma GCC unroll 8
      for (int p = 0; p < panels; ++p) {
        const std::uint32_t* words = panel + p * stride;
        entry[p] = _mm512_shrdv_epi32(_mm512_loadu_si512(words + step->word * panel_width),
                                      _mm512_loadu_si512(words + step->next * panel_width), down);
      }
      add_step<columns, panels>(std::make_integer_sequence<int, columns>(), step->tables + first_table, apart, entry,
                                sum);
    }
#pragma GCC unroll 32
    for (int i = 0; i < columns * panels; ++i) sums[i] += own::bit_cast<Floats>(sum[i]);
  }
}

// One line of outputs of the panels of a group.
struct Line {
  const W1A32Conv& conv;
  const own::Array<Step>& steps;
  std::int64_t pixel_tables;
  std::int64_t width;  // of the output
  std::int64_t row;    // of the output that is the line's first
  std::int64_t group;
};

template <int columns, int count>
void add_panels(const Line& line, std::int64_t first) {
  const ConvPanels& b = line.conv.b;
  const std::int64_t group_outputs = b.n / b.groups;
  const std::int64_t apart = line.conv.geometry.x.stride * line.pixel_tables;
  for (std::int64_t next = 0; next < line.width; next += columns) {
    // The last tile overlaps the one before, so that no tile is partial.
    const std::int64_t column = own::min(next, line.width - columns);
    Floats sums[columns * count] = {};
    micro_kernel<columns, count>(line.steps, block_fives(b.taps()) * b.taps(), column * apart, apart,
                                 b.words + first * b.panel_words(), b.panel_words(), sums);
    for (int p = 0; p < count; ++p) {
      const std::int64_t j = (first + p) * panel_width - line.group * panels_of(group_outputs) * panel_width;
      const AffineWriter write(line.conv.output,
                               Place(line.row + column, line.group * group_outputs + j, b.n, group_outputs - j));
      for (int c = 0; c < columns; ++c) write(c, sums[c * count + p]);
    }
  }
}

// Takes as many columns at a time as registers hold the sums of, or fewer where the line is shorter.
template <int count>
void add_panels(const Line& line, std::int64_t first) {
  constexpr int max_columns = count == 4 ? 4 : 8;
  if (line.width >= max_columns) {
    add_panels<max_columns, count>(line, first);
  } else if (line.width >= 4) {
    add_panels<4, count>(line, first);
  } else {
    add_panels<1, count>(line, first);
  }
}

// Finds the steps of the line of outputs whose first tap reads line `top`.
void find_steps(const W1A32Conv& conv, const LineTables& tables, std::int64_t top, const own::Array<Step>& steps) {
  const ConvPanels& b = conv.b;
  const Geometry& at = conv.geometry;
  const std::int64_t words = b.channel_words();
  Step* step = steps.data();
  for (std::int64_t t = 0; t < tables.pixel_tables(); ++t) {
    for (std::int64_t tap = 0; tap < b.taps(); ++tap) {
      const Table* first = tables.at(top + tap / b.kernel_x * at.y.dilation, tap % b.kernel_x * at.x.dilation);
      const TableIndex index(t, tap * words, words);
      *step++ = {first + t, static_cast<std::int32_t>(index.word), static_cast<std::int32_t>(index.next), index.shift};
    }
  }
}

}  // namespace

void w1a32_lines(const W1A32Conv& conv, Range lines, Range panels) {
  const ConvPanels& b = conv.b;
  const ConvAxis& vertical = conv.geometry.y;
  const std::int64_t height = vertical.outputs(), width = conv.geometry.x.outputs();
  const std::int64_t group_panels = panels_of(b.n / b.groups);
  LineTables tables(conv);
  const own::Array<Step> steps(b.taps() * tables.pixel_tables());

  for (Range part{panels.begin, panels.begin}; part.begin < panels.end; part.begin = part.end) {
    const std::int64_t group = part.begin / group_panels;
    part.end = own::min((group + 1) * group_panels, panels.end);
    for (std::int64_t line = lines.begin; line < lines.end; ++line) {
      const std::int64_t y = line % height;
      if (line == lines.begin || y == 0) tables.begin(line / height, group);
      const std::int64_t top = y * vertical.stride;
      tables.make_up_to(top + vertical.reach());
      find_steps(conv, tables, top, steps);
      const Line here{conv, steps, tables.pixel_tables(), width, line * width, group};
      std::int64_t panel = part.begin;
      for (; panel + 4 <= part.end; panel += 4) add_panels<4>(here, panel);
      for (; panel + 2 <= part.end; panel += 2) add_panels<2>(here, panel);
      for (; panel < part.end; ++panel) add_panels<1>(here, panel);
    }
  }
}

}  // namespace proxconnect::avx512
