// Arrays that end where readable memory ends: one element too far, read or written, is a fault. This sees what
// sanitizers do not, such as masked vector instructions and inline assembly.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

template <typename T>
class Guarded {
 public:
  explicit Guarded(std::int64_t count) : count_(count) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    const std::size_t pages = (bytes + page - 1) / page * page;
    mapped_ = pages + page;
    start_ = static_cast<char*>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (start_ == MAP_FAILED || mprotect(start_ + pages, page, PROT_NONE) != 0) std::abort();
    data_ = reinterpret_cast<T*>(start_ + pages - bytes);
  }
  ~Guarded() { munmap(start_, mapped_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* get() const { return data_; }
  T& operator[](std::int64_t i) const { return data_[i]; }
  std::int64_t size() const { return count_; }

 private:
  std::int64_t count_;
  std::size_t mapped_;
  char* start_;
  T* data_;
};
