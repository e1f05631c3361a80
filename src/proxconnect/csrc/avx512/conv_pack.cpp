#include "avx512/kernels.h"
#include "shared/pack_planes.h"

namespace proxconnect::avx512 {

bool pack_planes(const float* x, std::int64_t stride, std::int64_t channels, std::int64_t pixels,
                 std::uint8_t* bits) {
  return pack_planes_loop(x, stride, channels, pixels, bits);
}

}  // namespace proxconnect::avx512
