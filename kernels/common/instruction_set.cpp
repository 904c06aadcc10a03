#include "kernels/common/instruction_set.h"

#include <cstdlib>
#include <string_view>

#include "engine/tensor/error.h"

namespace thorax {

bool use_avx512() {
  static const bool use = [] {
    const char* const set = std::getenv("THORAX_ISA");
    const std::string_view wanted = set == nullptr ? "avx512" : set;
    THORAX_CHECK(wanted == "avx2" || wanted == "avx512",
                 "[kernels] THORAX_ISA={}: must be avx2 or avx512", wanted);
#if defined(__x86_64__)
    return wanted == "avx512" && __builtin_cpu_supports("x86-64-v4");
#else
    return false;
#endif
  }();
  return use;
}

}  // namespace thorax
