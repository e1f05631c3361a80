// Kernels for x86 processors with AVX2 and FMA (from 2013 on).

#include "sets/common/kernels.h"

namespace proxconnect::avx2 {
namespace {

bool runs_here() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

}  // namespace

constinit const KernelSet kernels = table_of_kernels("avx2", runs_here);

}  // namespace proxconnect::avx2
