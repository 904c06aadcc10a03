// Compiled with -frounding-math: the compiler moves nothing across a change of the mode.
#include "engine/runtime/ptx/rounding.h"

#include <cfenv>
#include <cmath>

#include "engine/runtime/ptx/program.h"

namespace thorax::ptx {
namespace {

class RoundingMode {
 public:
  explicit RoundingMode(int mode) : before_(std::fegetround()) { std::fesetround(mode); }
  ~RoundingMode() { std::fesetround(before_); }
  RoundingMode(const RoundingMode&) = delete;
  RoundingMode& operator=(const RoundingMode&) = delete;

 private:
  int before_;
};

}  // namespace

// volatile: results are there before the mode changes back.
void fma_down(const float* a, const float* b, const float* c, float* to) {
  volatile float result[kLanes];
  {
    const RoundingMode mode(FE_DOWNWARD);
    for (int i = 0; i < kLanes; ++i) {
      const volatile float first = a[i];
      result[i] = std::fma(first, b[i], c[i]);
    }
  }
  for (int i = 0; i < kLanes; ++i) to[i] = result[i];
}

void add_towards_zero(const float* a, const float* b, float* to) {
  volatile float result[kLanes];
  {
    const RoundingMode mode(FE_TOWARDZERO);
    for (int i = 0; i < kLanes; ++i) {
      const volatile float first = a[i];
      result[i] = first + b[i];
    }
  }
  for (int i = 0; i < kLanes; ++i) to[i] = result[i];
}

}  // namespace thorax::ptx
