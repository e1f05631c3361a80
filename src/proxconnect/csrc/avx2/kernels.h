#pragma once

#define KERNEL_SET avx2
#include "shared/kernel_set.h"
