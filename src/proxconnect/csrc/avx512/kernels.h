#pragma once

#undef KERNEL_SET
#define KERNEL_SET avx512
#include "shared/kernels.h"
