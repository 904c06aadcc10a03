// The definition: one sum after the other, in double.
#include "kernels/common/reference.h"
#include "kernels/reduce/reduce.h"
#include "kernels/reduce/reduce_axes.h"

namespace thorax {
namespace {

template <class T>
void forward(const ReduceProblem& p, const Tensor& x, const Tensor& y) {
  const ReduceAxes axes(p, x);
  for (std::int64_t m = 0; m < y.numel(); ++m) {
    double total = 0;
    for (std::int64_t r = 0; r < p.count(); ++r)
      total +=
          static_cast<double>(x.data<T>()[axes.kept.offsets(m)[0] + axes.summed.offsets(r)[0]]);
    y.data<T>()[m] = static_cast<T>(p.scale * total);
  }
}

template <class T>
void backward(const ReduceProblem& p, const Tensor& dy, const Tensor& dx) {
  const auto walk = broadcast_walk<2>(p.shape, {&dy, &dx});
  for (std::int64_t i = 0; i < walk.count(); ++i) {
    const auto at = walk.offsets(i);
    dx.data<T>()[at[1]] = static_cast<T>(p.scale * static_cast<double>(dy.data<T>()[at[0]]));
  }
}

}  // namespace

THORAX_PROVIDER(reduce_reference, reduce_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const ReduceProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                     },
                 .backward =
                     [](const ReduceProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward<T>(p, t...); });
                     }});

}  // namespace thorax
