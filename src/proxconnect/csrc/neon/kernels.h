#pragma once

#undef KERNEL_SET
#define KERNEL_SET neon
#include "shared/kernels.h"
