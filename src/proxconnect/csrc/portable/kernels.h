#pragma once

#define KERNEL_SET portable
#include "shared/kernel_set.h"
