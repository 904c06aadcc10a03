#include "kernels/cast/cast.h"

#include "engine/autograd/trace.h"
#include "engine/runtime/profile.h"

namespace thorax {
namespace {

bool is_floating(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::f16 || dtype == DType::bf16;
}

Tensor converted(const Tensor& x, DType dtype, const char* direction) {
  const ProfileScope scope("cast", direction, [&] { return x.shape().to_string(); });
  return x.to(dtype);
}

}  // namespace

Variable cast(const Variable& x, DType dtype) {
  THORAX_CHECK(x.defined(), "[cast] no input");
  const DType from = x.value().dtype();
  THORAX_CHECK(is_floating(from) && is_floating(dtype), "[cast] {} {} to {}: floating point only",
               x.shape(), name_of(from), name_of(dtype));
  if (from == dtype) return x;
  const Tensor y = converted(x.value(), dtype, "forward");
  if (tracing()) trace_operation({"cast", {x.value()}, y, {{"to", name_of(dtype)}}});
  return record("cast", y, {x}, [from](const Tensor& dy, const std::vector<bool>&) {
    return std::vector<Tensor>{converted(dy, from, "backward")};
  });
}

}  // namespace thorax
