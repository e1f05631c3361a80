// Kernels for x86 processors with AVX2 (from 2013 on).

#include "avx2/kernels.h"

namespace proxconnect::avx2 {
namespace {

bool runs_here() { return __builtin_cpu_supports("avx2"); }

}  // namespace

extern const KernelSet kernels;
const KernelSet kernels{"avx2",
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

}  // namespace proxconnect::avx2
