// The registers of tiles.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace proxconnect::amx {
namespace {

constexpr int tile_rows = 16;
constexpr int tile_row_bytes = 64;

// The sizes of a thread's eight tiles.
class TileSizes {
 public:
  void set(int tile, int rows, std::int64_t row_bytes) {
    memory_.rows[tile] = static_cast<std::uint8_t>(rows);
    memory_.row_bytes[tile] = static_cast<std::uint16_t>(rows > 0 ? row_bytes : 0);
  }

  void load() const {
    asm volatile("" : : "r"(&memory_) : "memory");  // gcc 12 does not know that the next line reads all of it
    _tile_loadconfig(&memory_);
  }

 private:
  struct alignas(64) Memory {  // as the processor reads it
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
  };

  Memory memory_;
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
