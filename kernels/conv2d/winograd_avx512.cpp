// The Winograd kernels for 16 lanes, compiled with AVX-512 enabled for this file alone
// (CMakeLists.txt) and called only where the processor has it.
#include "kernels/common/instruction_set.h"
#include "kernels/conv2d/winograd.h"

#ifdef __AVX512F__
#include "kernels/conv2d/winograd_core.h"
#endif

namespace thorax::winograd {

const Kernels* kernels_avx512() {
#ifdef __AVX512F__
  static constexpr Kernels kernels = make_kernels<16>();
  return use_avx512() ? &kernels : nullptr;
#else
  return nullptr;
#endif
}

}  // namespace thorax::winograd
