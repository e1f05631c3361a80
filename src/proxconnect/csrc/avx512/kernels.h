#pragma once

#define KERNEL_SET avx512
#include "shared/kernel_set.h"
