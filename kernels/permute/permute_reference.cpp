// The definition, element by element.
#include "kernels/common/reference.h"
#include "kernels/permute/permute.h"
#include "kernels/permute/permute_walk.h"

namespace thorax {
namespace {

template <class T>
void forward(const PermuteProblem& p, const Tensor& x, const Tensor& y) {
  const auto walk = permute_walk(p, x, y);
  for (std::int64_t i = 0; i < walk.count(); ++i) {
    const auto at = walk.offsets(i);
    y.data<T>()[at[1]] = x.data<T>()[at[0]];
  }
}

}  // namespace

THORAX_PROVIDER(permute_reference, permute_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward = [](const PermuteProblem& p, auto&... t) {
                   reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                 }});

}  // namespace thorax
