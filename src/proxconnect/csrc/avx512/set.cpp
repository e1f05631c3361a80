// Kernels for x86 processors with AVX-512 VPOPCNTDQ, VNNI, VBMI and VBMI2 (Ice Lake, Zen 4 and later).

#include "avx512/kernels.h"

namespace proxconnect::avx512 {
namespace {

bool runs_here() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vpopcntdq");
}

}  // namespace

extern const KernelSet kernels;
const KernelSet kernels{"avx512",
                        runs_here,
                        pack_signs,
                        unpack_weights,
                        w1a1_sums,
                        w1a1_affine,
                        w1a1_signs,
                        w1a8,
                        w1a32,
                        greatest_magnitude,
                        w1a8_pixels,
                        w1a8_conv};

}  // namespace proxconnect::avx512
