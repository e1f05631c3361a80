// Asks the processor. These functions run before it is known which instructions exist, so this source is compiled
// without the flags of any set: with them, a compiler may use a set's instructions in the very function that asks.

#include "sets/processor.h"

#ifdef PROXCONNECT_X86
#include <cpuid.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <string_view>
#endif

#ifdef PROXCONNECT_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

#ifdef PROXCONNECT_ARM_LINUX
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace proxconnect {

bool portable::runs_here() { return true; }

#ifdef PROXCONNECT_X86

// CPUID is asked here and not by __builtin_cpu_supports, whose answers depend on the library of the compiler.
namespace {

enum Register { eax, ebx, ecx, edx };

// Parts of registers that the system keeps for a program while others run, as XGETBV names them.
constexpr std::uint64_t avx_state = 0b110;
constexpr std::uint64_t avx512_state = 0b1110'0110;

struct Feature {
  std::string_view name;
  unsigned leaf, subleaf;  // of CPUID
  Register from;
  int bit;
  std::uint64_t state;  // that the system has to keep
};

constexpr Feature features[] = {
    {"popcnt", 1, 0, ecx, 23, 0},
    {"avx2", 7, 0, ebx, 5, avx_state},
    {"fma", 1, 0, ecx, 12, avx_state},
    {"f16c", 1, 0, ecx, 29, avx_state},
    {"avx512f", 7, 0, ebx, 16, avx512_state},
    {"avx512bw", 7, 0, ebx, 30, avx512_state},
    {"avx512dq", 7, 0, ebx, 17, avx512_state},
    {"avx512vl", 7, 0, ebx, 31, avx512_state},
    {"avx512vbmi", 7, 0, ecx, 1, avx512_state},
    {"avx512vbmi2", 7, 0, ecx, 6, avx512_state},
    {"avx512vnni", 7, 0, ecx, 11, avx512_state},
    {"avx512vpopcntdq", 7, 0, ecx, 14, avx512_state},
    {"avx512_bf16", 7, 1, eax, 5, avx512_state},
    {"amx_tile", 7, 0, edx, 24, 0},  // Linux is asked for the state of tiles below
    {"amx_int8", 7, 0, edx, 25, 0},
    {"amx_bf16", 7, 0, edx, 22, 0},
};

std::uint64_t kept_state() {
  unsigned found[4] = {};
  if (__get_cpuid(1, &found[eax], &found[ebx], &found[ecx], &found[edx]) == 0 || (found[ecx] & bit_OSXSAVE) == 0) {
    return 0;
  }
  std::uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low | static_cast<std::uint64_t>(high) << 32;
}

bool has(const Feature& feature) {
  unsigned found[4] = {};
  return __get_cpuid_count(feature.leaf, feature.subleaf, &found[eax], &found[ebx], &found[ecx], &found[edx]) != 0 &&
         (found[feature.from] >> feature.bit & 1) != 0 && (kept_state() & feature.state) == feature.state;
}

bool has_all(std::initializer_list<std::string_view> names) {
  return std::all_of(names.begin(), names.end(), [](std::string_view name) {
    return std::any_of(std::begin(features), std::end(features),
                       [name](const Feature& feature) { return feature.name == name && has(feature); });
  });
}

}  // namespace

bool avx2::runs_here() { return has_all({"avx2", "fma", "f16c"}); }

bool avx512::runs_here() {
  return has_all({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vbmi", "avx512vbmi2", "avx512vnni",
                  "avx512vpopcntdq"});
}

#endif

#ifdef PROXCONNECT_AMX

namespace {

// Asks Linux for the tiles' registers, which a process gets on request only.
bool may_use_tiles() {
  constexpr int request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

}  // namespace

bool amx::runs_here() {
  return has_all({"amx_tile", "amx_int8", "amx_bf16", "avx512_bf16"}) && avx512::runs_here() && may_use_tiles();
}

#endif

#ifdef PROXCONNECT_ARM
bool neon::runs_here() { return true; }
#endif

#ifdef PROXCONNECT_ARM_LINUX
bool neon_dot::runs_here() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#endif

std::vector<std::pair<const char*, bool>> cpu_features() {
#ifdef PROXCONNECT_X86
  std::vector<std::pair<const char*, bool>> found;
  for (const Feature& feature : features) found.emplace_back(feature.name.data(), has(feature));
  return found;
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
