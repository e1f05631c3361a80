// Kernels in standard C++20, for any processor.

#include "sets/common/kernels.h"
#include "sets/processor.h"

namespace proxconnect::portable {

constinit const KernelSet kernels = table_of_kernels("portable", runs_here);

}  // namespace proxconnect::portable
