#pragma once

#undef KERNEL_SET
#define KERNEL_SET avx2
#include "shared/kernels.h"
