#pragma once

#define KERNEL_SET neon
#include "shared/kernel_set.h"
