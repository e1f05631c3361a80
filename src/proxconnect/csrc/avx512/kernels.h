#pragma once

#undef KERNEL_SET
#define KERNEL_SET avx512
#include "shared/kernels.h"

namespace proxconnect::avx512 {

void w1a32_lines(const W1A32Lines& all, Range lines, Range panels);

}  // namespace proxconnect::avx512
