// The Winograd kernels for 8 lanes: AVX2 and FMA, the least that thorax runs on.
#include "kernels/conv2d/winograd_core.h"

namespace thorax::winograd {

const Kernels& kernels_avx2() {
  static constexpr Kernels kernels = make_kernels<8>();
  return kernels;
}

}  // namespace thorax::winograd
