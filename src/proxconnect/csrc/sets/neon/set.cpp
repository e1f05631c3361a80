// The tables of the two ARM sets. neon is for every 64-bit ARM processor. neon_dot is for those with the dot-product
// extension (from 2018 on): it is neon with other kernels for W1A8. Its table is made here, where neon's functions are
// declared, and of sets/neon_dot/ only the kernels themselves are compiled for the extension.

#include "sets/common/kernels.h"
#include "sets/processor.h"

#ifdef PROXCONNECT_ARM_LINUX
#include "sets/neon_dot/w1a8.h"
#endif

namespace proxconnect::neon {

constinit const KernelSet kernels = table_of_kernels("neon", runs_here);

}  // namespace proxconnect::neon

#ifdef PROXCONNECT_ARM_LINUX

namespace proxconnect::neon_dot {

constinit const KernelSet kernels = [] {
  KernelSet set = neon::table_of_kernels("neon_dot", runs_here);
  set.w1a8 = w1a8;
  set.w1a8_conv = w1a8_conv;
  return set;
}();

}  // namespace proxconnect::neon_dot

#endif
