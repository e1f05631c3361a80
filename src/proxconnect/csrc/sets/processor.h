// What this processor has, and which kernel sets it and its operating system can run.
#pragma once

#include <utility>
#include <vector>

namespace proxconnect {

// Returns the instruction sets that kernels may ask for, and whether this processor has them; empty where unknown.
std::vector<std::pair<const char*, bool>> cpu_features();

namespace portable {
bool runs_here();
}

#ifdef PROXCONNECT_X86
namespace avx2 {
bool runs_here();
}
namespace avx512 {
bool runs_here();
}
#endif

#ifdef PROXCONNECT_AMX
namespace amx {
bool runs_here();
}
#endif

#ifdef PROXCONNECT_ARM
namespace neon {
bool runs_here();
}
#endif

#ifdef PROXCONNECT_ARM_LINUX
namespace neon_dot {
bool runs_here();
}
#endif

}  // namespace proxconnect
