// The list of kernel sets, and the choice among them.

#include "sets/dispatch.h"

#include <atomic>

#ifdef PROXCONNECT_X86
#include <cpuid.h>
#endif

#ifdef PROXCONNECT_ARM_LINUX
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace proxconnect {

const std::vector<const KernelSet*>& kernel_sets() {
  static const std::vector<const KernelSet*> sets{
#ifdef PROXCONNECT_AMX
      &amx::kernels,
#endif
#ifdef PROXCONNECT_X86
      &avx512::kernels,
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

std::vector<std::pair<const char*, bool>> cpu_features() {
#ifdef PROXCONNECT_X86
  const auto supported = [](int answer) { return answer != 0; };
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool asked = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0;
  return {
      {"popcnt", supported(__builtin_cpu_supports("popcnt"))},
      {"avx2", supported(__builtin_cpu_supports("avx2"))},
      {"fma", supported(__builtin_cpu_supports("fma"))},
      {"avx512f", supported(__builtin_cpu_supports("avx512f"))},
      {"avx512bw", supported(__builtin_cpu_supports("avx512bw"))},
      {"avx512dq", supported(__builtin_cpu_supports("avx512dq"))},
      {"avx512vl", supported(__builtin_cpu_supports("avx512vl"))},
      {"avx512vbmi", supported(__builtin_cpu_supports("avx512vbmi"))},
      {"avx512vbmi2", supported(__builtin_cpu_supports("avx512vbmi2"))},
      {"avx512vnni", supported(__builtin_cpu_supports("avx512vnni"))},
      {"avx512vpopcntdq", supported(__builtin_cpu_supports("avx512vpopcntdq"))},
      {"amx_int8", asked && (d >> 25 & 1) != 0},  // older compilers do not know it by name
  };
#elif defined(PROXCONNECT_ARM_LINUX)
  const auto supported = [](unsigned long flag) { return (getauxval(AT_HWCAP) & flag) != 0; };
  return {{"asimd", supported(HWCAP_ASIMD)}, {"asimddp", supported(HWCAP_ASIMDDP)}};
#elif defined(PROXCONNECT_ARM)
  return {{"asimd", true}};  // all have it
#else
  return {};
#endif
}

}  // namespace proxconnect
