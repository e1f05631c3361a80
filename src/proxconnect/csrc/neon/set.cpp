// Kernels for 64-bit ARM processors, all of which have NEON.

#include "neon/kernels.h"

namespace proxconnect::neon {
namespace {

bool runs_here() { return true; }

}  // namespace

constinit const KernelSet kernels = all_kernels("neon", runs_here);

}  // namespace proxconnect::neon
