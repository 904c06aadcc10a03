// Compiled for AVX-512 where the compiler makes code for x86-64 (CMakeLists.txt).
#include "engine/runtime/ptx/tables.h"

#if defined(__AVX512F__)
#include "engine/runtime/ptx/steps.h"
#endif

namespace thorax::ptx {

const StepTables* steps_v4() {
#if defined(__AVX512F__)
  return &kTables;
#else
  return nullptr;
#endif
}

}  // namespace thorax::ptx
