// The definition.
#include "engine/runtime/philox.h"
#include "kernels/common/elements.h"
#include "kernels/common/reference.h"
#include "kernels/dropout/dropout.h"

namespace thorax {
namespace {

template <class T>
void run(const DropoutProblem& p, const Tensor& x, const Tensor& y) {
  const Elements<T> in(x), out(y);
  const T scale = static_cast<T>(p.scale());
  Philox words(p.seed, p.stream);
  // A select, not a product with 0: a dropped infinity is 0, not NaN.
  for (std::int64_t i = 0; i < p.shape.numel(); ++i)
    out[i] = words.next_u32() >= p.threshold() ? in[i] * scale : T{0};
}

}  // namespace

THORAX_PROVIDER(dropout_reference, dropout_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .run = [](const DropoutProblem& p, auto&... t) {
                   reference::with_type(p, [&]<class T>(T) { run<T>(p, t...); });
                 }});

}  // namespace thorax
