// W1A32 for whole vectors of rows (GEMM): lanes are rows. The entries of a table, each for all lanes, lie in memory,
// and each output adds the one that its signs name. So a table serves all outputs, and one look-up serves all lanes.
#pragma once

#include "sets/common/k_blocks.h"
#include "sets/common/scratch.h"
#include "sets/common/transpose.h"
#include "sets/common/w1a32_tables.h"

namespace proxconnect {
namespace {

// Rows in a vector, and outputs whose sums the micro-kernel keeps in registers.
#if defined(__AVX512F__)
constexpr int lanes = 16, kernel_outputs = 16;
#elif defined(__AVX2__) || defined(__ARM_NEON)
constexpr int lanes = 8, kernel_outputs = 8;
#else
constexpr int lanes = 8, kernel_outputs = 4;
#endif
using Lanes = Vector<lanes>;

// Lanes anywhere in a row of floats. Loading them by this type keeps gcc from copying them to the stack first.
typedef float LanesAnywhere __attribute__((vector_size(lanes * sizeof(float)), aligned(sizeof(float))));

// Makes a table whose entry e has +x[i][at ..] where bit i of e is set, -x[i][at ..] elsewhere. Entries are `pitch`
// apart.
[[gnu::always_inline]] inline void make_lane_table(const float* const* x, std::int64_t at, float* table,
                                                   std::int64_t pitch = lanes) {
  Lanes input[table_inputs];
#pragma GCC unroll 5
  for (int i = 0; i < table_inputs; ++i) input[i] = *reinterpret_cast<const LanesAnywhere*>(x[i] + at);
  const Lanes two[4] = {-input[0] - input[1], input[0] - input[1], -input[0] + input[1], input[0] + input[1]};
  const Lanes rest[4] = {-input[3] - input[4], input[3] - input[4], -input[3] + input[4], input[3] + input[4]};
#pragma GCC unroll 8
  for (int low = 0; low < 8; ++low) {
    const Lanes three = low < 4 ? two[low & 3] - input[2] : two[low & 3] + input[2];
#pragma GCC unroll 4
    for (int high = 0; high < 4; ++high) {
      const Lanes entry = three + rest[high];
      std::memcpy(table + (high * 8 + low) * pitch, &entry, sizeof entry);
    }
  }
}

constexpr std::int64_t max_tables = 16;  // in use at a time

// The places, in bytes, of the entries that the outputs of a panel choose in each table.
using EntryOffsets = std::uint16_t[max_tables][panel_width];

inline void find_entries(const TableIndex* indices, std::int64_t count, const std::uint32_t* panel,
                         EntryOffsets& offsets) {
  using Offsets = std::uint16_t __attribute__((vector_size(panel_width * sizeof(std::uint16_t))));
  constexpr int entry_size = lanes * sizeof(float);
  for (std::int64_t f = 0; f < count; ++f) {
    const Integers found = (indices[f].bits(panel) & static_cast<int>(table_entries - 1)) * entry_size;
    const Offsets narrow = __builtin_convertvector(found, Offsets);
    std::memcpy(offsets[f], &narrow, sizeof narrow);
  }
}

// The micro-kernel: adds entries of `kernel_outputs` outputs, whose sums are in registers, to those of their K-block,
// which is a new one if it `begins`. The sum of a K-block goes into `sums` if it `ends`, into `block_sums` until then.
[[gnu::noinline]] inline void add_entries(const float* tables, const std::uint16_t* offsets, std::int64_t count,
                                          bool begins, bool ends, Lanes* block_sums, Lanes* sums) {
  const char* table = reinterpret_cast<const char*>(tables);
  Lanes sum[kernel_outputs];
#pragma GCC unroll 16
  for (int j = 0; j < kernel_outputs; ++j) sum[j] = begins ? Lanes{} : block_sums[j];
  for (std::int64_t t = 0; t < count; ++t, offsets += panel_width, table += table_entries * sizeof sum[0]) {
#pragma GCC unroll 16
    for (int j = 0; j < kernel_outputs; ++j) sum[j] += *reinterpret_cast<const Lanes*>(table + offsets[j]);
  }
  if (ends) {
#pragma GCC unroll 16
    for (int j = 0; j < kernel_outputs; ++j) sums[j] += sum[j];
  } else {
#pragma GCC unroll 16
    for (int j = 0; j < kernel_outputs; ++j) block_sums[j] = sum[j];
  }
}

// A block of panels of a weight.
struct PanelBlock {
  const std::uint32_t* words;
  std::int64_t panel_words;
  std::int64_t count;
};

// Calls write(lane, the panel's outputs) for the first `count` lanes of a panel's outputs, which lie lanes together.
template <typename Write>
inline void write_rows(const Lanes* outputs, int count, const Write& write) {
  Floats rows[lanes];
#pragma GCC unroll 2
  for (int first = 0; first < panel_width; first += lanes) {
    Lanes part[lanes];
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) part[i] = outputs[first + i];
    transpose<lanes>(part);
    for (int lane = 0; lane < lanes; ++lane) {
      std::memcpy(reinterpret_cast<float*>(&rows[lane]) + first, &part[lane], sizeof part[lane]);
    }
  }
  for (int lane = 0; lane < count; ++lane) write(lane, rows[lane]);
}

// The macro-kernel: the sums of all outputs of a block of panels for tiles of `lanes` rows each. The lanes of an output
// lie side by side.
class LaneSums {
 public:
  static constexpr std::int64_t max_panels = 64;

  explicit LaneSums(const PanelBlock& panels) : panels_(panels) {}

  // Retiles how many tiles of rows share the work of taking signs apart, so that their sums stay in a cache.
  std::int64_t max_tiles() const { return own::min<std::int64_t>(max_tiles_, 2 * max_panels / panels_.count); }

  void clear(std::int64_t tiles) {
    std::memset(sums_, 0, static_cast<std::size_t>(tiles * panels_.count) * sizeof sums_[0]);
  }

  // Returns how many tables to add next, of `end` from `first` on. With so few outputs the tables are written anew so
  // often that they must leave the first-level cache room for more.
  std::int64_t next_tables(std::int64_t first, std::int64_t end) const {
    return own::min(end - first, panels_.count <= 8 ? max_tables / 2 : max_tables);
  }

  // Sets out to add `count` tables of `end` from `first` on, with these indices in the panels.
  void begin(std::int64_t first, std::int64_t end, const TableIndex* indices, std::int64_t count) {
    count_ = count;
    begins_ = first % k_block_tables == 0;
    ends_ = (first + count) % k_block_tables == 0 || first + count == end;
    for (std::int64_t panel = 0; panel < panels_.count; ++panel) {
      find_entries(indices, count, panels_.words + panel * panels_.panel_words, offsets_[panel]);
    }
  }

  // Adds them for the rows of one tile. From x[i] + at on lies input i of these tables for all lanes.
  void add(std::int64_t tile, const float* const* x, std::int64_t at) {
    for (std::int64_t t = 0; t < count_; ++t) make_lane_table(x + t * table_inputs, at, tables_[t]);
    for (std::int64_t panel = 0; panel < panels_.count; ++panel) {
      for (int j = 0; j < panel_width; j += kernel_outputs) {
        add_entries(tables_[0], offsets_[panel][0] + j, count_, begins_, ends_,
                    block_sums_[tile * panels_.count + panel] + j, sums(tile, panel) + j);
      }
    }
  }

  // The sums of a panel's outputs for the rows of a tile.
  Lanes* sums(std::int64_t tile, std::int64_t panel) { return sums_[tile * panels_.count + panel]; }

 private:
  static constexpr std::int64_t max_tiles_ = 8;

  PanelBlock panels_;
  std::int64_t count_ = 0;
  bool begins_ = true;
  bool ends_ = true;
  alignas(64) float tables_[max_tables][table_entries * lanes];
  EntryOffsets offsets_[max_panels];
  Lanes block_sums_[2 * max_panels][panel_width];
  Lanes sums_[2 * max_panels][panel_width];
};

// Loads the `width` inputs of each of `count` rows into rows[r], and zeros elsewhere.
inline void load_rows(const float* x, std::int64_t stride, std::int64_t count, std::int64_t width,
                      Lanes (&rows)[lanes]) {
  if (count == lanes && width == lanes) {
#pragma GCC unroll 16
    for (int r = 0; r < lanes; ++r) rows[r] = *reinterpret_cast<const LanesAnywhere*>(x + r * stride);
    return;
  }
  for (int r = 0; r < lanes; ++r) {
    rows[r] = Lanes{};
    if (r < count) std::memcpy(&rows[r], x + r * stride, static_cast<std::size_t>(width) * sizeof(float));
  }
}

// Sets to[i][lane] = x[row + lane, column + i], and zero where there is no such row or column. It goes by squares, so
// that `to` takes columns up to a multiple of `lanes`.
inline void transpose_rows(const FloatRows& x, std::int64_t k, std::int64_t row, std::int64_t column,
                           std::int64_t columns, float (*to)[lanes]) {
  const std::int64_t rows = own::min<std::int64_t>(x.m - row, lanes);
  for (std::int64_t first = column; first < column + columns; first += lanes, to += lanes) {
    const std::int64_t width = own::clamp<std::int64_t>(k - first, 0, lanes);
    Lanes part[lanes];
    load_rows(x.values + row * x.stride + first, x.stride, rows, width, part);
    transpose<lanes>(part);
    std::memcpy(to, part, sizeof part);
  }
}

// Adds the sums of a group of inputs, times the scales of the panel's outputs, to those of the groups before it.
inline void add_lanes(const KBlock& group, const Floats& scale, int width, const Lanes* sums, Lanes* y) {
  for (int j = 0; j < width; ++j) y[j] = group.group == 0 ? sums[j] * scale[j] : y[j] + sums[j] * scale[j];
}

inline void w1a32_gemm(const W1A32& product, Range rows, Range panels) {
  const Panels& b = product.b;
  const KBlocks groups(b.k, product.group, words_of(b.k));
  alignas(64) float inputs[(max_tables * table_inputs + lanes - 1) / lanes * lanes][lanes];
  const float* x[max_tables * table_inputs];
  for (std::int64_t i = 0; i < max_tables * table_inputs; ++i) x[i] = inputs[i];
  TableIndex indices[max_tables];

  for (Range block{panels.begin, panels.begin}; block.begin < panels.end; block.begin = block.end) {
    block.end = own::min(block.begin + LaneSums::max_panels / b.planes, panels.end);
    const std::int64_t width = block.end - block.begin;
    LaneSums sums({b.panel(block.begin), b.panel_words(), width * b.planes});
    auto* const y = scratch<Scratch::groups, Lanes>(sums.max_tiles() * width * panel_width);
    for (Range part{rows.begin, rows.begin}; part.begin < rows.end; part.begin = part.end) {
      part.end = own::min(part.begin + sums.max_tiles() * lanes, rows.end);
      const std::int64_t tiles = (part.end - part.begin + lanes - 1) / lanes;
      for (KBlock group = groups.first();; group = groups.after(group)) {
        const std::int64_t end = group.end_input(b.k), tables = tables_of(end - group.first_input());
        sums.clear(tiles);
        for (std::int64_t first = 0, count; first < tables; first += count) {
          count = sums.next_tables(first, tables);
          for (std::int64_t t = 0; t < count; ++t) indices[t] = TableIndex(first + t, group.word, group.words);
          sums.begin(first, tables, indices, count);
          const std::int64_t column = group.first_input() + first * table_inputs;
          for (std::int64_t tile = 0; tile < tiles; ++tile) {
            transpose_rows(product.x, end, part.begin + tile * lanes, column, count * table_inputs, inputs);
            sums.add(tile, x, 0);
          }
        }
        for (std::int64_t i = 0; i < tiles * width; ++i) {
          const std::int64_t tile = i / width, panel = i % width;
          const Place at(0, block.begin + panel, b.n);
          Lanes* const found = sums.sums(tile, panel * b.planes);
          if (b.planes == 2) {
            const Lanes* const other = sums.sums(tile, panel * b.planes + 1);
            for (int j = 0; j < panel_width; ++j) found[j] = (found[j] + other[j]) * 0.5f;
          }
          add_lanes(group, PanelScales(product, at)[group.group], at.width, found, y + i * panel_width);
        }
        if (group.is_last) break;
      }
      for (std::int64_t i = 0; i < tiles * width; ++i) {
        const std::int64_t row = part.begin + i / width * lanes;
        const int count = static_cast<int>(own::min<std::int64_t>(part.end - row, lanes));
        const ScaledWriter write(product.output, Place(row, block.begin + i % width, b.n));
        write_rows(y + i * panel_width, count, [&](int lane, const Floats& sum) { write.finish(lane, sum); });
      }
    }
  }
}

}  // namespace
}  // namespace proxconnect
