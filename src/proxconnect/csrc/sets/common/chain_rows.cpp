// Chains over rows of floats that are in memory already.

#include "sets/common/chain_writer.h"
#include "sets/common/kernels.h"

namespace proxconnect::KERNEL_SET {
namespace {

template <int rows>
void take_rows(const FloatRows& x, std::int64_t row, const Place& at, const ChainWriter& chain) {
  Floats y[rows];
  for (int r = 0; r < rows; ++r) y[r] = load<Floats>(x.values + (row + r) * x.stride + at.j, at.width);
  chain.write(row, y);
}

}  // namespace

void chain_rows(const FloatRows& x, std::int64_t n, const ChainOutput& output, Range rows) {
  constexpr int together = 4;
  std::int64_t row = rows.begin;
  const auto all_panels = [&](const auto& take) {
    for (std::int64_t panel = 0; panel < panels_of(n); ++panel) {
      const Place at(0, panel, n);
      take(x, row, at, writer(output, at));
    }
  };
  for (; row + together <= rows.end; row += together) all_panels(take_rows<together>);
  for (; row < rows.end; ++row) all_panels(take_rows<1>);
}

}  // namespace proxconnect::KERNEL_SET
