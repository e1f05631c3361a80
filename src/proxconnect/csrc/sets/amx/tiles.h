// The registers of tiles.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace proxconnect::amx {
namespace {

constexpr int tile_rows = 16;
constexpr int tile_row_bytes = 64;

// The sizes of a thread's eight tiles, as the processor reads them.
class alignas(64) TileSizes {
 public:
  void set(int tile, int rows, std::int64_t row_bytes) {
    rows_[tile] = static_cast<std::uint8_t>(rows);
    row_bytes_[tile] = static_cast<std::uint16_t>(rows > 0 ? row_bytes : 0);
  }

  void load() const {
    asm volatile("" : : "r"(this) : "memory");  // gcc 12 does not know that the next line reads all of it
    _tile_loadconfig(this);
  }

 private:
  std::uint8_t palette_ = 1;
  std::uint8_t start_row_ = 0;
  std::uint8_t reserved_[14] = {};
  std::uint16_t row_bytes_[16] = {};
  std::uint8_t rows_[16] = {};
};

// Calls work(), which may set tiles up, and releases them. Other code that runs on this thread uses tiles too, but not
// meanwhile.
template <typename Work>
bool with_tiles(const Work& work) {
  const bool result = work();
  _tile_release();
  return result;
}

}  // namespace
}  // namespace proxconnect::amx
