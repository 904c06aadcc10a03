// The matrix products for 16 lanes, compiled with AVX-512 enabled for this file alone
// (CMakeLists.txt) and called only where the processor has it.
#include "kernels/common/gemm.h"
#include "kernels/common/instruction_set.h"

#ifdef __AVX512F__
#include "kernels/common/gemm_core.h"
#endif

namespace thorax::gemm {

const Kernels* kernels_avx512() {
#ifdef __AVX512F__
  static constexpr Kernels kernels = make_kernels<16>();
  return use_avx512() ? &kernels : nullptr;
#else
  return nullptr;
#endif
}

}  // namespace thorax::gemm
