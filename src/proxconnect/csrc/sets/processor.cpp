// Asks the processor. These functions run before it is known which instructions exist, so this source is compiled
// without the flags of any set: with them, a compiler may use a set's instructions in the very function that asks.

#include "sets/processor.h"

#ifdef PROXCONNECT_X86
#include <cpuid.h>
#endif

#ifdef PROXCONNECT_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

#ifdef PROXCONNECT_ARM_LINUX
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace proxconnect {

bool portable::runs_here() { return true; }

#ifdef PROXCONNECT_X86

namespace {

bool converts_halves() {  // older Clang knows no name for this feature
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

}  // namespace

bool avx2::runs_here() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && converts_halves();
}

bool avx512::runs_here() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vpopcntdq");
}

#endif

#ifdef PROXCONNECT_AMX

namespace {

// Asks Linux for the tiles' registers, which a process gets on request only.
bool may_use_tiles() {
  constexpr int request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

}  // namespace

bool amx::runs_here() {
  constexpr unsigned tiles_of_bytes = 1u << 24 | 1u << 25;
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool known = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0;
  return known && (d & tiles_of_bytes) == tiles_of_bytes && avx512::runs_here() && may_use_tiles();
}

#endif

#ifdef PROXCONNECT_ARM
bool neon::runs_here() { return true; }
#endif

#ifdef PROXCONNECT_ARM_LINUX
bool neon_dot::runs_here() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#endif

std::vector<std::pair<const char*, bool>> cpu_features() {
#ifdef PROXCONNECT_X86
  const auto supported = [](int answer) { return answer != 0; };
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool asked = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0;
  return {
      {"popcnt", supported(__builtin_cpu_supports("popcnt"))},
      {"avx2", supported(__builtin_cpu_supports("avx2"))},
      {"fma", supported(__builtin_cpu_supports("fma"))},
      {"f16c", converts_halves()},
      {"avx512f", supported(__builtin_cpu_supports("avx512f"))},
      {"avx512bw", supported(__builtin_cpu_supports("avx512bw"))},
      {"avx512dq", supported(__builtin_cpu_supports("avx512dq"))},
      {"avx512vl", supported(__builtin_cpu_supports("avx512vl"))},
      {"avx512vbmi", supported(__builtin_cpu_supports("avx512vbmi"))},
      {"avx512vbmi2", supported(__builtin_cpu_supports("avx512vbmi2"))},
      {"avx512vnni", supported(__builtin_cpu_supports("avx512vnni"))},
      {"avx512vpopcntdq", supported(__builtin_cpu_supports("avx512vpopcntdq"))},
      {"amx_int8", asked && (d >> 25 & 1) != 0},  // older compilers do not know it by name
  };
#elif defined(PROXCONNECT_ARM_LINUX)
  const auto supported = [](unsigned long flag) { return (getauxval(AT_HWCAP) & flag) != 0; };
  return {{"asimd", supported(HWCAP_ASIMD)}, {"asimddp", supported(HWCAP_ASIMDDP)}};
#elif defined(PROXCONNECT_ARM)
  return {{"asimd", true}};  // all have it
#else
  return {};
#endif
}

}  // namespace proxconnect
