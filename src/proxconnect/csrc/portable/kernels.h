#pragma once

#undef KERNEL_SET
#define KERNEL_SET portable
#include "shared/kernels.h"
