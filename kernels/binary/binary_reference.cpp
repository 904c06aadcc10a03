// The definition, element by element in double.
#include "kernels/binary/binary.h"
#include "kernels/common/reference.h"
#include "kernels/common/strided.h"

namespace thorax {
namespace {

double combine(BinaryKind kind, double a, double b) {
  switch (kind) {
    case BinaryKind::add:
      return a + b;
    case BinaryKind::sub:
      return a - b;
    case BinaryKind::mul:
      return a * b;
    case BinaryKind::div:
      return a / b;
  }
  return 0;
}

template <class T>
void forward(const BinaryProblem& p, const Tensor& a, const Tensor& b, const Tensor& y) {
  const auto walk = broadcast_walk<3>(p.result_shape(), {&a, &b, &y});
  const T *left = a.data<T>(), *right = b.data<T>();
  T* to = y.data<T>();
  for (std::int64_t i = 0; i < walk.count(); ++i) {
    const auto at = walk.offsets(i);
    to[at[2]] = static_cast<T>(
        combine(p.kind, static_cast<double>(left[at[0]]), static_cast<double>(right[at[1]])));
  }
}

}  // namespace

THORAX_PROVIDER(binary_reference, binary_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward = [](const BinaryProblem& p, auto&... t) {
                   reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                 }});

}  // namespace thorax
