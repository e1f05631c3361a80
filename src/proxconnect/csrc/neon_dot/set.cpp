// Kernels for 64-bit ARM processors with the dot-product extension (from 2018 on); it serves W1A8 alone.

#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "neon_dot/kernels.h"

namespace proxconnect::neon_dot {
namespace {

bool runs_here() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }

constexpr KernelSet with_dot_product(KernelSet set) {
  set.w1a8 = w1a8;
  set.w1a8_conv = w1a8_conv;
  return set;
}

}  // namespace

constinit const KernelSet kernels = with_dot_product(neon::all_kernels("neon_dot", runs_here));

}  // namespace proxconnect::neon_dot
