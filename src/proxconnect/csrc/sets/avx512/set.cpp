// Kernels for x86 processors with AVX-512 VPOPCNTDQ, VNNI, VBMI and VBMI2 (Ice Lake, Zen 4 and later).

#include "sets/common/kernels.h"

namespace proxconnect::avx512 {
namespace {

bool runs_here() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vpopcntdq");
}

}  // namespace

constinit const KernelSet kernels = [] {
  KernelSet set = table_of_kernels("avx512", runs_here);
  set.w1a32_lines = w1a32_lines;
  return set;
}();

}  // namespace proxconnect::avx512
