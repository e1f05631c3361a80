// Kernels for x86 processors with AVX2 and FMA (from 2013 on).

#include "sets/common/kernels.h"
#include "sets/processor.h"

namespace proxconnect::avx2 {

constinit const KernelSet kernels = table_of_kernels("avx2", runs_here);

}  // namespace proxconnect::avx2
