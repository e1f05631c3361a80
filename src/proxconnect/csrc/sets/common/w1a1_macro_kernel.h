// The macro-kernel of W1A1: the loops over rows and panels around a set's micro-kernel.
//
// A set provides a MicroKernel: MicroKernel::max_rows, MicroKernel::max_panels, and
// MicroKernel::sums<rows, panels>(a, lines, panel, panel_words, start, sums), which computes sums[p][r][j] =
// start[p][r][j] - 2 * (bits in which row r at `a` and output j of panel p differ). It is inlined here, so that sums
// stay in registers until they are what is written.
#pragma once

#include <cstring>
#include <type_traits>
#include <utility>

#include "sets/common/chain_writer.h"

namespace proxconnect {
namespace {

inline std::uint32_t word_at(const std::uint8_t* row, std::int64_t word) {
  std::uint32_t value;
  std::memcpy(&value, row + word * 4, sizeof value);
  return value;
}

inline Integers wrap_to_8_bits(const Integers& sums) { return sums << 24 >> 24; }

// Writes the sums of rows that are in registers: without a loop, which would put them into memory.
template <typename Writer, int rows, int... r>
[[gnu::always_inline]] inline void write_rows(const Writer& write, std::int64_t row, Integers (&sums)[rows], bool wrap,
                                              std::integer_sequence<int, r...>) {
  if (wrap) ((sums[r] = wrap_to_8_bits(sums[r])), ...);
  if constexpr (std::is_same_v<Writer, AffineWriter>) {
    if (write.plain()) return (write.write_plain(row + r, sums[r]), ...);  // decided once for all rows
  }
  if constexpr (std::is_same_v<Writer, ChainWriter>) {
    write.write(row, sums);
  } else {
    (write(row + r, sums[r]), ...);
  }
}

// Calls call(own::Constant<count>()), 1 <= count <= max.
template <int max, typename Call>
[[gnu::always_inline]] inline void with_constant(std::int64_t count, const Call& call) {
  if constexpr (max > 1) {
    if (count < max) return with_constant<max - 1>(count, call);
  }
  call(own::Constant<max>());
}

inline bool within(const Range& range, std::int64_t first, std::int64_t count) {
  return range.begin <= first && first + count <= range.end;
}

// Returns the sums of the signs of those taps that lie beyond the image: counting its padding as -1 took them away.
inline Integers beyond(const Borders& borders, std::int64_t panel, std::int64_t y, std::int64_t x) {
  const std::int64_t line = borders.kernel_x + 1;
  const std::int32_t* sums = borders.tap_sums + panel * (borders.kernel_y + 1) * line * panel_width;
  const auto before = [&](std::int64_t tap_y, std::int64_t tap_x) {
    return load<Integers>(sums + (tap_y * line + tap_x) * panel_width, panel_width);
  };
  const Range& in_y = borders.y_inside[y];
  const Range& in_x = borders.x_inside[x];
  return before(borders.kernel_y, borders.kernel_x) - before(in_y.end, in_x.end) + before(in_y.begin, in_x.end) +
         before(in_y.end, in_x.begin) - before(in_y.begin, in_x.begin);
}

// Computes all rows of some lines for `count` panels of a group, from panel p on. `whole` has the sums that rows start
// from whose taps all lie inside the image.
template <typename MicroKernel, int count, typename Output, int... index>
[[gnu::always_inline]] inline void w1a1_lines(const W1A1Part<Output>& part, const SignLines& a, const Borders& borders,
                                              const Integers* whole, Range lines, std::int64_t p,
                                              std::integer_sequence<int, index...>) {
  constexpr int max_rows = MicroKernel::max_rows;
  const bool wrap = part.wrap;
  const std::int64_t group_outputs = part.n / part.groups;
  const std::int64_t group = p / part.group_panels();
  const auto place = [&](int i) {
    const std::int64_t j = (p % part.group_panels() + i) * panel_width;
    return Place(0, group * group_outputs + j, part.n, group_outputs - j);
  };
  const decltype(writer(part.output, place(0))) writers[] = {writer(part.output, place(index))...};
  const std::uint32_t* panel = part.words + (p - part.first_panel) * part.panel_words;

  for (std::int64_t y = lines.begin; y < lines.end; ++y) {
    const std::uint8_t* line = a.bits + group * a.group_stride + y * a.line_stride;
    const bool line_whole = within(borders.whole_y, y, 1);
    const std::int64_t row = part.first_row + y * a.width;
    const auto tile = [&](std::int64_t x, auto rows) __attribute__((always_inline)) {
      const Integers* start = whole;
      Integers corrected[count * rows];
      if (borders.tap_sums && !(line_whole && within(borders.whole_x, x, rows))) {
        for (int i = 0; i < count * rows; ++i) {
          const std::int64_t at = x + i % rows;
          corrected[i] = whole[i];
          if (!(line_whole && within(borders.whole_x, at, 1))) corrected[i] += beyond(borders, p + i / rows, y, at);
        }
        start = corrected;
      }
      Integers sums[count][rows];
      MicroKernel::template sums<rows, count>(line + x * a.row_stride, a, panel, part.panel_words, start, sums[0]);
      (write_rows(writers[index], row + x, sums[index], wrap, std::make_integer_sequence<int, rows>()), ...);
    };
    std::int64_t x = 0;
    for (; x + max_rows <= a.width; x += max_rows) tile(x, own::Constant<max_rows>());
    const auto rest = [&](auto rows) __attribute__((always_inline)) { tile(x, rows); };
    if (x < a.width) with_constant<own::max(max_rows - 1, 1)>(a.width - x, rest);
  }
}

template <typename MicroKernel, typename Output>
void w1a1_macro_kernel(const W1A1Part<Output>& part, Range panels) {
  constexpr std::int64_t block_rows = 64;  // meet a panel while it is in the first-level cache
  // The compiler may keep a copy's members in registers: a byte that is written could be one of the original's.
  const W1A1Part<Output> copy = part;
  const std::int64_t block_lines = 1 + (block_rows - 1) / copy.a.width;

  Integers whole[MicroKernel::max_rows * MicroKernel::max_panels];
  for (Integers& sum : whole) sum = Integers{} + static_cast<std::int32_t>(copy.k);

  for (Range lines{0, 0}; lines.begin < copy.a.lines; lines.begin = lines.end) {
    lines.end = copy.a.lines - lines.begin < block_lines ? copy.a.lines : lines.begin + block_lines;
    for (std::int64_t p = panels.begin, next = p; p < panels.end; p = next) {
      const std::int64_t group_end = (p / copy.group_panels() + 1) * copy.group_panels();
      next = own::min(own::min(p + MicroKernel::max_panels, group_end), panels.end);
      with_constant<MicroKernel::max_panels>(next - p, [&](auto count) __attribute__((always_inline)) {
        w1a1_lines<MicroKernel, count>(copy, copy.a, copy.borders, whole, lines, p,
                                       std::make_integer_sequence<int, count>());
      });
    }
  }
}

}  // namespace
}  // namespace proxconnect
