// The W1A8 micro-kernel of x86 processors with AMX multiplies tiles: 16 rows of 64 inputs by 64 inputs of a panel
// (tdpbusd). Unpacked signs lie as its second operand has them already.

#include "sets/amx/kernels.h"

#include <utility>

#include "sets/amx/tiles.h"
#include "sets/avx512/unpack_signs.h"
#include "sets/common/w1a8_conv_macro_kernel.h"
#include "sets/common/w1a8_macro_kernel.h"

namespace proxconnect::avx512 {
bool w1a8(const W1A8& product, Range rows, Range panels);
}

namespace proxconnect::amx {
namespace {

constexpr std::int64_t tile_steps = 16;

// The sizes that this thread's tiles have now. 0 to 3 are sums: of 16 rows and a panel, of these rows and the next panel,
// and of the rows behind them. 4 and 5 are inputs of these rows, 6 and 7 are weights of the panels.
class SizesNow {
 public:
  // Calls work(), which may set the tiles up.
  template <typename Work>
  static bool during(const Work& work) {
    rows_ = 0;
    return with_tiles(work);
  }

  // Sets the tiles up for so many rows, and for so many steps along K in a tile.
  static void set(int rows, std::int64_t steps) {
    if (rows == rows_ && steps == steps_) return;
    rows_ = rows;
    steps_ = steps;
    TileSizes sizes;
    const int first = rows < tile_rows ? rows : tile_rows;
    for (int panel = 0; panel < 2; ++panel) {
      sizes.set(panel, first, step_bytes);
      sizes.set(2 + panel, rows - first, step_bytes);
      sizes.set(6 + panel, static_cast<int>(steps), step_bytes);
    }
    sizes.set(4, first, steps * k_step);
    sizes.set(5, rows - first, steps * k_step);
    sizes.load();
  }

 private:
  [[gnu::tls_model("initial-exec")]] static thread_local int rows_;  // 0 where the tiles are not set up
  [[gnu::tls_model("initial-exec")]] static thread_local std::int64_t steps_;
};

thread_local int SizesNow::rows_ = 0;
thread_local std::int64_t SizesNow::steps_ = 0;

template <int lines>
inline void prefetch(const std::int8_t* weights) {
#pragma GCC unroll 16
  for (int i = 0; i < lines; ++i) _mm_prefetch(reinterpret_cast<const char*>(weights) + i * step_bytes, _MM_HINT_T0);
}

// Does the work of the micro-kernel for the steps `first` to `end` of every run, `steps` of them in a tile.
template <int rows, int panels>
void multiply_tiles(const std::uint8_t* q, std::int64_t stride, const Runs& runs, const std::int8_t* weights, bool add,
                    Integers* sums, std::int64_t first, std::int64_t end, std::int64_t steps) {
  constexpr bool two_panels = panels > 1, more_rows = rows > tile_rows;
  constexpr std::int64_t between = panels * step_bytes;
  SizesNow::set(rows, steps);
  _tile_zero(0);  // a tile of sums that were just written would wait until they are in the cache
  if constexpr (two_panels) _tile_zero(1);
  if constexpr (more_rows) _tile_zero(2);
  if constexpr (two_panels && more_rows) _tile_zero(3);
  for (std::int64_t run = 0; run < runs.count; ++run) {
    const std::uint8_t* const inputs = q + runs.offsets[run];
    const std::int8_t* const signs = weights + run * runs.k_steps * between;
    for (std::int64_t step = first; step < end; step += steps) {
      const std::int8_t* const next = signs + (step + tile_steps) * between;
      _tile_loadd(4, inputs + step * k_step, stride);
      _tile_loadd(6, signs + step * between, between);
      prefetch<tile_steps * panels / 2>(next);
      _tile_dpbusd(0, 4, 6);
      prefetch<tile_steps * panels / 2>(next + tile_steps / 2 * between);
      if constexpr (two_panels) {
        _tile_loadd(7, signs + step * between + step_bytes, between);
        _tile_dpbusd(1, 4, 7);
      }
      if constexpr (more_rows) {
        _tile_loadd(5, inputs + step * k_step + tile_rows * stride, stride);
        _tile_dpbusd(2, 5, 6);
        if constexpr (two_panels) _tile_dpbusd(3, 5, 7);
      }
    }
  }
  Integers products[rows * panels];
  Integers* const to = add ? products : sums;
  Integers* const more = to + (more_rows ? tile_rows * panels : 0);
  _tile_stored(0, to, between);
  if constexpr (two_panels) _tile_stored(1, to + 1, between);
  if constexpr (more_rows) _tile_stored(2, more, between);
  if constexpr (two_panels && more_rows) _tile_stored(3, more + 1, between);
  if (!add) return;
  for (int i = 0; i < rows * panels; ++i) sums[i] += products[i];
}

template <int rows, int panels>
void micro_kernel(const std::uint8_t* q, std::int64_t stride, const Runs& runs, const std::int8_t* weights, bool add,
                  Integers* sums) {
  const auto multiply = [&](bool add_these, std::int64_t first, std::int64_t end, std::int64_t steps) {
    multiply_tiles<rows, panels>(q, stride, runs, weights, add_these, sums, first, end, steps);
  };
  const std::int64_t rest = runs.k_steps % tile_steps, whole = runs.k_steps - rest;
  if (whole > 0 || rest == 0) multiply(add, 0, whole, tile_steps);
  if (rest > 0) multiply(add || whole > 0, whole, runs.k_steps, rest);
}

constexpr W1A8MicroKernels<2 * tile_rows, 2> micro_kernels =
    []<int... index>(std::integer_sequence<int, index...>) -> W1A8MicroKernels<2 * tile_rows, 2> {
  return {unpack_signs, {{micro_kernel<index + 1, 1>...}, {micro_kernel<index + 1, 2>...}}};
}(std::make_integer_sequence<int, 2 * tile_rows>());

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) {
  constexpr std::int64_t few_rows = 8;  // do not repay the unpacking of signs
  if (rows.end - rows.begin <= few_rows) return avx512::w1a8(product, rows, panels);
  return SizesNow::during([&] { return w1a8_macro_kernel(micro_kernels, product, rows, panels); });
}

void w1a8_conv(const W1A8Image& image, Range lines, Range panels) {
  SizesNow::during([&] {
    w1a8_conv_macro_kernel(micro_kernels, image, lines, panels);
    return true;
  });
}

}  // namespace proxconnect::amx
