// Kernels in standard C++20, for any processor.

#include "sets/common/kernels.h"

namespace proxconnect::portable {
namespace {

bool runs_here() { return true; }

}  // namespace

constinit const KernelSet kernels = table_of_kernels("portable", runs_here);

}  // namespace proxconnect::portable
