// Arrays between pages that cannot be touched: one element too far, read or written, is a fault. This sees what
// sanitizers do not, such as masked vector instructions and inline assembly.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

// The end of each row that lies at the border of its pages.
enum class Edge { first, last };

// Rows of `width` elements, each between guard pages of its own.
template <typename T>
class Guarded {
 public:
  Guarded(const std::vector<T>& values, std::int64_t width, Edge edge)
      : width_(static_cast<std::size_t>(width)), rows_(width > 0 ? values.size() / width_ : 0) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t bytes = width_ * sizeof(T);
    const std::size_t pages = (bytes + page - 1) / page * page;
    stride_ = pages + page;
    mapped_ = page + (rows_ > 0 ? rows_ : 1) * stride_;
    start_ = static_cast<char*>(mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (start_ == MAP_FAILED) std::abort();
    data_ = start_ + page + (edge == Edge::last ? pages - bytes : 0);
    for (std::size_t row = 0; row < rows_; ++row) {
      if (mprotect(start_ + page + row * stride_, pages, PROT_READ | PROT_WRITE) != 0) std::abort();
      std::memcpy(data_ + row * stride_, values.data() + row * width_, bytes);
    }
  }
  // One row.
  Guarded(const std::vector<T>& values, Edge edge) : Guarded(values, static_cast<std::int64_t>(values.size()), edge) {}
  // One row of zeros.
  explicit Guarded(std::int64_t count) : Guarded(std::vector<T>(static_cast<std::size_t>(count)), Edge::last) {}
  ~Guarded() { munmap(start_, mapped_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* get() const { return reinterpret_cast<T*>(data_); }
  T& operator[](std::int64_t i) const { return get()[i]; }  // of the first row
  std::int64_t size() const { return static_cast<std::int64_t>(rows_ * width_); }
  T* or_null() const { return rows_ > 0 ? get() : nullptr; }
  std::int64_t stride() const { return static_cast<std::int64_t>(stride_ / sizeof(T)); }

  std::vector<T> values() const {
    std::vector<T> all(rows_ * width_);
    for (std::size_t row = 0; row < rows_; ++row) {
      std::memcpy(all.data() + row * width_, data_ + row * stride_, width_ * sizeof(T));
    }
    return all;
  }

 private:
  std::size_t width_;
  std::size_t rows_;
  std::size_t stride_;
  std::size_t mapped_;
  char* start_;
  char* data_;
};
