// The tables of the two sets with AVX-512. avx512 is for x86 processors with VPOPCNTDQ, VNNI, VBMI and VBMI2 (Ice Lake,
// Zen 4 and later). amx is for those that multiply tiles too (Sapphire Rapids and later), where Linux lets a process use
// them: it is avx512 with other kernels for W1A8 and with attention in bfloat16. Of sets/amx/ only the kernels themselves
// are compiled for tiles.

#include "sets/common/kernels.h"
#include "sets/processor.h"

#ifdef PROXCONNECT_AMX
#include "sets/amx/kernels.h"
#endif

namespace proxconnect::avx512 {
namespace {

constexpr KernelSet table() {
  KernelSet set = table_of_kernels("avx512", runs_here);
  set.w1a32_lines = w1a32_lines;
  return set;
}

}  // namespace

constinit const KernelSet kernels = table();

}  // namespace proxconnect::avx512

#ifdef PROXCONNECT_AMX

namespace proxconnect::amx {

constinit const KernelSet kernels = [] {
  KernelSet set = avx512::table();
  set.name = "amx";
  set.runs_here = runs_here;
  set.w1a8 = w1a8;
  set.w1a8_conv = w1a8_conv;
  set.bfloat16_attention = bfloat16_attention;
  return set;
}();

}  // namespace proxconnect::amx

#endif
