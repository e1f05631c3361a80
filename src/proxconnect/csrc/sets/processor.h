// What this processor has, and which kernel sets it and its operating system can run.
#pragma once

#include <utility>
#include <vector>

namespace proxconnect {

// Returns the instruction sets that kernels may ask for, and whether this processor has them; empty where unknown.
std::vector<std::pair<const char*, bool>> cpu_features();

// Tells whether the set of this name runs here; only the sets of this build are defined.
namespace portable {
bool runs_here();
}
namespace avx2 {
bool runs_here();
}
namespace avx512 {
bool runs_here();
}
namespace amx {
bool runs_here();
}
namespace neon {
bool runs_here();
}
namespace neon_dot {
bool runs_here();
}

}  // namespace proxconnect
