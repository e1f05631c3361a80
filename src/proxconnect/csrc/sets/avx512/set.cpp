// The tables of the two sets with AVX-512. avx512 is for x86 processors with VPOPCNTDQ, VNNI, VBMI and VBMI2 (Ice Lake,
// Zen 4 and later). amx is for those that multiply tiles of bytes too (Sapphire Rapids and later), where Linux lets a
// process use them: it is avx512 with other kernels for W1A8. Of sets/amx/ only the kernels themselves are compiled for
// tiles.

#include "sets/common/kernels.h"

#ifdef PROXCONNECT_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sets/amx/w1a8.h"
#endif

namespace proxconnect::avx512 {
namespace {

bool runs_here() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vpopcntdq");
}

constexpr KernelSet table() {
  KernelSet set = table_of_kernels("avx512", runs_here);
  set.w1a32_lines = w1a32_lines;
  return set;
}

}  // namespace

constinit const KernelSet kernels = table();

}  // namespace proxconnect::avx512

#ifdef PROXCONNECT_AMX

namespace proxconnect::amx {
namespace {

// Asks Linux for the tiles' registers, which a process gets on request only.
bool may_use_tiles() {
  constexpr int request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

bool runs_here() {
  constexpr unsigned tiles_of_bytes = 1u << 24 | 1u << 25;
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool known = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0;
  return known && (d & tiles_of_bytes) == tiles_of_bytes && avx512::runs_here() && may_use_tiles();
}

}  // namespace

constinit const KernelSet kernels = [] {
  KernelSet set = avx512::table();
  set.name = "amx";
  set.runs_here = runs_here;
  set.w1a8 = w1a8;
  set.w1a8_conv = w1a8_conv;
  return set;
}();

}  // namespace proxconnect::amx

#endif
