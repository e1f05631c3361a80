// The list of kernel sets, and the choice among them.

#include "sets/dispatch.h"

#include <atomic>

namespace proxconnect {

const std::vector<const KernelSet*>& kernel_sets() {
  static const std::vector<const KernelSet*> sets{
#ifdef PROXCONNECT_AMX
      &amx::kernels,
#endif
#ifdef PROXCONNECT_AVX512
      &avx512::kernels,
#endif
#ifdef PROXCONNECT_X86
      &avx2::kernels,
#endif
#ifdef PROXCONNECT_ARM_LINUX
      &neon_dot::kernels,
#endif
#ifdef PROXCONNECT_ARM
      &neon::kernels,
#endif
      &portable::kernels,
  };
  return sets;
}

namespace {

const KernelSet* fastest() {
  for (const KernelSet* set : kernel_sets()) {
    if (set->runs_here()) return set;
  }
  return &portable::kernels;
}

std::atomic<const KernelSet*>& selected() {
  static std::atomic<const KernelSet*> set{fastest()};
  return set;
}

}  // namespace

const KernelSet& active_kernels() { return *selected().load(std::memory_order_relaxed); }

bool use_kernels(std::string_view name) {
  for (const KernelSet* set : kernel_sets()) {
    if (set->name == name && set->runs_here()) {
      selected().store(set, std::memory_order_relaxed);
      return true;
    }
  }
  return false;
}

}  // namespace proxconnect
