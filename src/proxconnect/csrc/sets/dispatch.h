// The kernel sets of this build, those that this processor runs, and the one in use.
#pragma once

#include <string_view>
#include <vector>

#include "sets/kernel_set.h"

namespace proxconnect {

// Returns every kernel set that is built, fastest first.
const std::vector<const KernelSet*>& kernel_sets();

// Returns the set in use: the one selected last, or else the fastest that runs here.
const KernelSet& active_kernels();

// Uses the named set from now on. Returns false, and changes nothing, if no set of that name runs here.
bool use_kernels(std::string_view name);

}  // namespace proxconnect
