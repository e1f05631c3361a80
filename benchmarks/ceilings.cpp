// What one core can do at most with the instructions that the AVX-512 kernels are made of, and with its memory.
// Prints a JSON object: products (of one weight and one input) per second and bytes per second, in units of 10^9.
// Each number is the best of several short runs, so that a busy machine disturbs it little.

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>

namespace {

constexpr long steps = 20000;
constexpr int lanes = 16;

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

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <typename Run>
double rate(double amount, const Run& run) {
  double best = 1e9;
  for (int i = 0; i < 200; ++i) {
    const double start = now();
    run();
    best = std::min(best, now() - start);
  }
  return amount / best / 1e9;
}

double read_rate(std::size_t bytes) {
  const std::unique_ptr<char[]> memory(new char[bytes + 64]);
  std::memset(memory.get(), 1, bytes + 64);
  return rate(static_cast<double>(bytes), [&] {
    __m512i a = unknown(0), b = unknown(0);
    for (std::size_t i = 0; i < bytes; i += 128) {
      a = _mm512_or_si512(a, _mm512_loadu_si512(memory.get() + i));
      b = _mm512_or_si512(b, _mm512_loadu_si512(memory.get() + i + 64));
    }
    keep(_mm512_or_si512(a, b));
  });
}

}  // namespace

int main() {
  std::printf("{\"fma\": %.1f, \"dot\": %.1f, \"table_dot\": %.1f, \"look_up\": %.1f, \"carry_save\": %.1f, ",
              rate(24.0 * lanes * steps, fma), rate(24.0 * 4 * lanes * steps, dot),
              rate(16.0 * 16 * lanes * steps, table_dot), rate(16.0 * 5 * lanes * steps, look_up),
              rate(8.0 * 64 * lanes * steps, carry_save));
  std::printf("\"level_1\": %.1f, \"level_2\": %.1f, \"level_3\": %.1f, \"memory\": %.1f}\n", read_rate(16 << 10),
              read_rate(1 << 20), read_rate(16 << 20), read_rate(256 << 20));
}
