// Kernels for x86 processors with AVX2 (from 2013 on).

#include "avx2/kernels.h"

namespace proxconnect::avx2 {
namespace {

bool runs_here() { return __builtin_cpu_supports("avx2"); }

}  // namespace

constinit const KernelSet kernels = all_kernels("avx2", runs_here);

}  // namespace proxconnect::avx2
