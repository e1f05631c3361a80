// Which kernel sets there are, which of them this processor runs, and which one is in use.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "sets/kernel_set.h"

namespace proxconnect {

// Every kernel set built into this library, fastest first.
const std::vector<const KernelSet*>& kernel_sets();

// The set in use: the one selected last, or else the fastest that runs here.
const KernelSet& active_kernels();

// Use the named set from now on. False if there is none of that name that runs here; nothing then changes.
bool use_kernels(std::string_view name);

// Instruction sets that kernels may ask for, and whether this processor has them; empty where unknown.
std::vector<std::pair<const char*, bool>> cpu_features();

}  // namespace proxconnect
