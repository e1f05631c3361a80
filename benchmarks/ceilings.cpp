// What cores can do at most with the instructions that the AVX-512 kernels are made of, and with their memory.
// A library: every ceiling is a short run of one core, which returns how many products (of one weight and one input) or
// bytes it had, and `seconds_at_once` times it on several cores together.

#include <immintrin.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace {

constexpr long steps = 10000;
constexpr int lanes = 16;
thread_local std::size_t core = 0;  // of those that run at once

// A vector that the compiler knows nothing about.
__m512i unknown(int value) {
  __m512i vector = _mm512_set1_epi32(value);
  asm volatile("" : "+v"(vector));
  return vector;
}

void keep(__m512i vector) { asm volatile("" : : "v"(vector)); }

template <int sums, typename Step>
void repeat(const Step& step) {
  __m512i sum[sums];
#pragma GCC unroll 32
  for (auto& s : sum) s = unknown(0);
  for (long i = 0; i < steps; ++i) {
    asm volatile("");
#pragma GCC unroll 32
    for (auto& s : sum) step(s);
  }
#pragma GCC unroll 32
  for (auto& s : sum) keep(s);
}

// float32 multiply-add: 16 products.
void fma() {
  const __m512i a = unknown(1), b = unknown(2);
  repeat<24>([&](__m512i& s) { asm("vfmadd231ps %2, %1, %0" : "+v"(s) : "v"(a), "v"(b)); });
}

// Four 8-bit products to a lane: 64.
void dot() {
  const __m512i a = unknown(1), b = unknown(2);
  repeat<24>([&](__m512i& s) { asm("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(a), "v"(b)); });
}

// What four inputs of up to 7 bits add up to, looked up by their weights, and addition of such bytes: 256.
void table_dot() {
  const __m512i index = unknown(5), table = unknown(1), ones = unknown(2);
  repeat<16>([&](__m512i& s) {
    __m512i found;
    asm volatile("vpermb %2, %1, %0" : "=v"(found) : "v"(index), "v"(table));
    asm volatile("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(found), "v"(ones));
  });
}

// Look-up of five weights and addition: 80.
void look_up() {
  const __m512i entry = unknown(5), low = unknown(1), high = unknown(2);
  repeat<16>([&](__m512i& s) {
    __m512i found = entry;
    asm volatile("vpermi2ps %2, %1, %0" : "+v"(found) : "v"(low), "v"(high));
    asm volatile("vaddps %1, %0, %0" : "+v"(s) : "v"(found));
  });
}

// Two words of falling-edge carry-save: 1024 products in five operations.
void carry_save() {
  constexpr int sums = 8;
  const __m512i a0 = unknown(1), a1 = unknown(2), b0 = unknown(3), b1 = unknown(4);
  __m512i odd[sums], falls[sums];
#pragma GCC unroll 8
  for (int i = 0; i < sums; ++i) odd[i] = falls[i] = unknown(0);
  for (long step = 0; step < steps; ++step) {
    asm volatile("");
#pragma GCC unroll 8
    for (int i = 0; i < sums; ++i) {
      const __m512i odd1 = _mm512_ternarylogic_epi32(odd[i], a0, b0, 0x96);
      const __m512i odd2 = _mm512_ternarylogic_epi32(odd1, a1, b1, 0x96);
      const __m512i fall = _mm512_ternarylogic_epi32(odd[i], odd1, odd2, 0x74);
      falls[i] = _mm512_add_epi32(falls[i], _mm512_popcnt_epi32(fall));
      odd[i] = odd2;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < sums; ++i) keep(_mm512_add_epi32(odd[i], falls[i]));
}

// Reads `bytes` of the core's own four times.
double read(std::size_t bytes) {
  constexpr std::size_t most = 16 << 20, cores = 16;
  static const std::unique_ptr<char[]> memory(static_cast<char*>(std::memset(new char[cores * most], 1, cores * most)));
  const char* own = memory.get() + core % cores * most;
  __m512i a = unknown(0), b = unknown(0);
  for (int time = 0; time < 4; ++time) {
    for (std::size_t i = 0; i < bytes; i += 128) {
      a = _mm512_or_si512(a, _mm512_loadu_si512(own + i));
      b = _mm512_or_si512(b, _mm512_loadu_si512(own + i + 64));
    }
  }
  keep(_mm512_or_si512(a, b));
  return 4.0 * static_cast<double>(bytes);
}

}  // namespace

extern "C" {
double ceiling_fma() { return fma(), 24.0 * lanes * steps; }
double ceiling_dot() { return dot(), 24.0 * 4 * lanes * steps; }
double ceiling_table_dot() { return table_dot(), 16.0 * 16 * lanes * steps; }
double ceiling_look_up() { return look_up(), 16.0 * 5 * lanes * steps; }
double ceiling_carry_save() { return carry_save(), 8.0 * 64 * lanes * steps; }
double ceiling_level_2() { return read(1 << 20); }
double ceiling_level_3() { return read(16 << 20); }

// Of one run, after untimed ones for `warm` seconds, but one at least.
double seconds_at_once(double (*ceiling)(), int cores, int repeats, double warm) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); };
  std::atomic<int> warmed{0};
  const auto run = [&](std::size_t index) {
    core = index;
    const auto begun = Clock::now();
    do ceiling();
    while (since(begun) < warm);
    for (++warmed; warmed < cores;) {
    }
    const auto start = Clock::now();
    for (int i = 0; i < repeats; ++i) ceiling();
    return start;
  };
  std::vector<std::thread> others;
  for (int i = 1; i < cores; ++i) others.emplace_back(run, i);
  const auto start = run(0);
  for (auto& other : others) other.join();
  return since(start) / repeats;
}
}
