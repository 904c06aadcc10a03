// The matrix products for 8 lanes: AVX2 and FMA, the least that thorax runs on; on ARM the compiler
// makes two NEON vectors of each. And the choice of width.
#include "kernels/common/gemm_core.h"

namespace thorax::gemm {

const Kernels& kernels_avx2() {
  static constexpr Kernels kernels = make_kernels<8>();
  return kernels;
}

const Kernels& kernels_for(std::int64_t columns) {
  const Kernels* const wide = kernels_avx512();
  return wide != nullptr && columns >= 16 ? *wide : kernels_avx2();
}

}  // namespace thorax::gemm
