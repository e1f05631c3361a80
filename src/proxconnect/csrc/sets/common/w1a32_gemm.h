// Many rows at a time: lanes are rows. The 32 signed sums of five inputs, each for all lanes, lie in memory, and each
// output adds the one that its signs name. A table serves all outputs, and so does one look-up all lanes.
#pragma once

#include "sets/common/transpose.h"
#include "sets/common/w1a32_tables.h"

namespace proxconnect {
namespace {

// Lanes, and outputs whose sums are in registers at a time.
#if defined(__AVX512F__)
constexpr int lanes = 16, together = 16;
#elif defined(__AVX2__) || defined(__ARM_NEON)
constexpr int lanes = 8, together = 8;
#else
constexpr int lanes = 8, together = 4;
#endif
using Lanes = Vector<lanes>;

// Entry e of a table has +x[i][at ..] where bit i of e is set, -x[i][at ..] elsewhere.
inline void make_lane_table(const float* const* x, std::int64_t at, float* table) {
  Lanes input[five];
  for (int i = 0; i < five; ++i) std::memcpy(&input[i], x[i] + at, sizeof input[i]);
  const Lanes two[4] = {-input[0] - input[1], input[0] - input[1], -input[0] + input[1], input[0] + input[1]};
  const Lanes rest[4] = {-input[3] - input[4], input[3] - input[4], -input[3] + input[4], input[3] + input[4]};
#pragma GCC unroll 8
  for (int low = 0; low < 8; ++low) {
    const Lanes three = low < 4 ? two[low & 3] - input[2] : two[low & 3] + input[2];
#pragma GCC unroll 4
    for (int high = 0; high < 4; ++high) {
      const Lanes entry = three + rest[high];
      std::memcpy(table + (high * 8 + low) * lanes, &entry, sizeof entry);
    }
  }
}

constexpr std::int64_t most_fives = 16;  // whose tables are in use at a time

// For each five, how many bytes into its table the entry of each output of a panel lies.
using EntryOffsets = std::uint16_t[most_fives][panel_width];

inline void find_entries(const FivePlace* places, std::int64_t count, const std::uint32_t* panel,
                         EntryOffsets& offsets) {
  using Offsets = std::uint16_t __attribute__((vector_size(panel_width * sizeof(std::uint16_t))));
  constexpr int entry_size = lanes * sizeof(float);
  for (std::int64_t f = 0; f < count; ++f) {
    const Integers found = (places[f].bits(panel) & static_cast<int>(table_size - 1)) * entry_size;
    const Offsets narrow = __builtin_convertvector(found, Offsets);
    std::memcpy(offsets[f], &narrow, sizeof narrow);
  }
}

// Adds entries of `together` outputs, whose sums are in registers, to those of their block: a new one if `begins`.
// What a block comes to goes into `sums` if it `ends`, and into `block_sums` until then.
[[gnu::noinline]] inline void add_entries(const float* tables, const std::uint16_t* offsets, std::int64_t count,
                                          bool begins, bool ends, Lanes* block_sums, Lanes* sums) {
  const char* table = reinterpret_cast<const char*>(tables);
  Lanes sum[together];
#pragma GCC unroll 16
  for (int j = 0; j < together; ++j) sum[j] = begins ? Lanes{} : block_sums[j];
  for (std::int64_t f = 0; f < count; ++f, offsets += panel_width, table += table_size * sizeof sum[0]) {
#pragma GCC unroll 16
    for (int j = 0; j < together; ++j) sum[j] += *reinterpret_cast<const Lanes*>(table + offsets[j]);
  }
  if (ends) {
#pragma GCC unroll 16
    for (int j = 0; j < together; ++j) sums[j] += sum[j];
  } else {
#pragma GCC unroll 16
    for (int j = 0; j < together; ++j) block_sums[j] = sum[j];
  }
}

// Some panels of a weight.
struct SomePanels {
  const std::uint32_t* words;
  std::int64_t panel_words;
  std::int64_t count;
};

// The sums of all outputs of some panels for some times `lanes` rows, each output's lanes side by side.
class LaneSums {
 public:
  static constexpr std::int64_t most_panels = 64;

  explicit LaneSums(const SomePanels& panels) : panels_(panels) {}

  // For how many times `lanes` rows: the more, the less often the signs are taken apart, as long as the sums stay near.
  std::int64_t most_turns() const { return own::min<std::int64_t>(most_turns_, 2 * most_panels / panels_.count); }

  void clear(std::int64_t turns) {
    std::memset(sums_, 0, static_cast<std::size_t>(turns * panels_.count) * sizeof sums_[0]);
  }

  // How many fives to add next, of `all` from `first` on. With few outputs the tables are written anew so often that
  // they must leave the first-level cache room for more.
  std::int64_t next_fives(std::int64_t first, std::int64_t all) const {
    return own::min(all - first, panels_.count <= 8 ? most_fives / 2 : most_fives);
  }

  // Sets out to add `count` fives of `all` from `first` on, at these places of the panels.
  void begin(std::int64_t first, std::int64_t all, const FivePlace* places, std::int64_t count) {
    count_ = count;
    begins_ = first % block == 0;
    ends_ = (first + count) % block == 0 || first + count == all;
    for (std::int64_t panel = 0; panel < panels_.count; ++panel) {
      find_entries(places, count, panels_.words + panel * panels_.panel_words, offsets_[panel]);
    }
  }

  // Adds them for the rows of one turn; from x[i] + at on, there is input i of these fives for all lanes.
  void add(std::int64_t turn, const float* const* x, std::int64_t at) {
    for (std::int64_t f = 0; f < count_; ++f) make_lane_table(x + f * five, at, tables_[f]);
    for (std::int64_t panel = 0; panel < panels_.count; ++panel) {
      for (int j = 0; j < panel_width; j += together) {
        add_entries(tables_[0], offsets_[panel][0] + j, count_, begins_, ends_,
                    block_sums_[turn * panels_.count + panel] + j, sums(turn, panel) + j);
      }
    }
  }

  // Calls write(lane, sums of the panel's outputs) for the first `count` lanes.
  template <typename Write>
  void take(std::int64_t turn, std::int64_t panel, int count, const Write& write) {
    Floats rows[lanes];
#pragma GCC unroll 2
    for (int first = 0; first < panel_width; first += lanes) {
      Lanes part[lanes];
      std::memcpy(part, sums(turn, panel) + first, sizeof part);
      transpose<lanes>(part);
      for (int lane = 0; lane < lanes; ++lane) {
        std::memcpy(reinterpret_cast<float*>(&rows[lane]) + first, &part[lane], sizeof part[lane]);
      }
    }
    for (int lane = 0; lane < count; ++lane) write(lane, rows[lane]);
  }

 private:
  static constexpr std::int64_t most_turns_ = 8;

  Lanes* sums(std::int64_t turn, std::int64_t panel) { return sums_[turn * panels_.count + panel]; }

  SomePanels panels_;
  std::int64_t count_ = 0;
  bool begins_ = true;
  bool ends_ = true;
  alignas(64) float tables_[most_fives][table_size * lanes];
  EntryOffsets offsets_[most_panels];
  Lanes block_sums_[2 * most_panels][panel_width];
  Lanes sums_[2 * most_panels][panel_width];
};

// rows[r] = the `width` inputs of row r, for `count` rows; zeros elsewhere.
inline void load_rows(const float* x, std::int64_t stride, std::int64_t count, std::int64_t width,
                      Lanes (&rows)[lanes]) {
  if (count == lanes && width == lanes) {
#pragma GCC unroll 16
    for (int r = 0; r < lanes; ++r) std::memcpy(&rows[r], x + r * stride, sizeof rows[r]);
    return;
  }
  for (int r = 0; r < lanes; ++r) {
    rows[r] = Lanes{};
    if (r < count) std::memcpy(&rows[r], x + r * stride, static_cast<std::size_t>(width) * sizeof(float));
  }
}

// to[i][lane] = x[row + lane, column + i], zero where there is no such row or column; by squares, so that `to` takes
// columns up to a multiple of `lanes`.
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

inline void w1a32_many_rows(const W1A32& product, Range rows, Range panels) {
  const Panels& b = product.b;
  const std::int64_t fives = fives_of(b.k);
  alignas(64) float inputs[(most_fives * five + lanes - 1) / lanes * lanes][lanes];
  const float* x[most_fives * five];
  for (std::int64_t i = 0; i < most_fives * five; ++i) x[i] = inputs[i];
  FivePlace places[most_fives];

  for (Range some{panels.begin, panels.begin}; some.begin < panels.end; some.begin = some.end) {
    some.end = own::min(some.begin + LaneSums::most_panels, panels.end);
    LaneSums sums({b.panel(some.begin), b.panel_words(), some.end - some.begin});
    for (Range part{rows.begin, rows.begin}; part.begin < rows.end; part.begin = part.end) {
      part.end = own::min(part.begin + sums.most_turns() * lanes, rows.end);
      const std::int64_t turns = (part.end - part.begin + lanes - 1) / lanes;
      sums.clear(turns);
      for (std::int64_t first = 0, count; first < fives; first += count) {
        count = sums.next_fives(first, fives);
        for (std::int64_t f = 0; f < count; ++f) places[f] = FivePlace(first + f, 0, words_of(b.k));
        sums.begin(first, fives, places, count);
        for (std::int64_t turn = 0; turn < turns; ++turn) {
          transpose_rows(product.x, b.k, part.begin + turn * lanes, first * five, count * five, inputs);
          sums.add(turn, x, 0);
        }
      }
      for (std::int64_t turn = 0; turn < turns; ++turn) {
        const std::int64_t row = part.begin + turn * lanes;
        const int count = static_cast<int>(own::min<std::int64_t>(part.end - row, lanes));
        for (std::int64_t panel = some.begin; panel < some.end; ++panel) {
          const AffineWriter write(product.output, Place(row, panel, b.n));
          sums.take(turn, panel - some.begin, count, write);
        }
      }
    }
  }
}

}  // namespace
}  // namespace proxconnect
