// Reads the file that kernel_cases.py writes: numbers as int64, arrays as their length followed by their elements.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

class CaseFile {
 public:
  explicit CaseFile(const char* path) : file_(std::fopen(path, "rb")) {
    if (!file_) {
      std::printf("cannot read %s\n", path);
      std::exit(2);
    }
  }
  ~CaseFile() { std::fclose(file_); }
  CaseFile(const CaseFile&) = delete;
  CaseFile& operator=(const CaseFile&) = delete;

  bool at_end() {
    const int next = std::fgetc(file_);
    std::ungetc(next, file_);
    return next == EOF;
  }

  std::int64_t number() {
    std::int64_t value;
    read(&value, sizeof value);
    return value;
  }

  template <typename T>
  std::vector<T> array() {
    std::vector<T> values(static_cast<std::size_t>(number()));
    read(values.data(), values.size() * sizeof(T));
    return values;
  }

  std::string text() {
    const std::vector<char> characters = array<char>();
    return {characters.begin(), characters.end()};
  }

 private:
  void read(void* to, std::size_t bytes) {
    if (bytes > 0 && std::fread(to, bytes, 1, file_) != 1) {
      std::printf("the file of cases ends too early\n");
      std::exit(2);
    }
  }

  std::FILE* file_;
};
