// Kernels in standard C++20, for any processor.

#include "portable/kernels.h"

namespace proxconnect::portable {
namespace {

bool runs_here() { return true; }

}  // namespace

extern const KernelSet kernels;
const KernelSet kernels{"portable",
                        runs_here,
                        pack_signs,
                        unpack_weights,
                        w1a1_sums,
                        w1a1_affine,
                        w1a1_signs,
                        w1a8,
                        w1a32,
                        greatest_magnitude,
                        w1a8_pixels,
                        w1a8_conv};

}  // namespace proxconnect::portable
