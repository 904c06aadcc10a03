// Arithmetic on the tape. Products and quotients of a gradient are the same kernels; what an
// operand was repeated along is summed (kernels/reduce).
#include "engine/autograd/trace.h"
#include "engine/runtime/profile.h"
#include "kernels/binary/binary.h"
#include "kernels/reduce/reduce.h"

namespace thorax {
namespace {

Tensor compute(BinaryKind kind, const Tensor& a, const Tensor& b) {
  const BinaryProblem problem{.kind = kind, .a = a.shape(), .b = b.shape(), .dtype = a.dtype()};
  const Tensor y = Tensor::empty(problem.result_shape(), problem.dtype, a.device());
  binary_providers().select(problem, a.device().kind).forward(problem, a, b, y);
  return y;
}

// -t in memory of its own.
Tensor negative(const Tensor& t) {
  const Tensor result = t.clone();
  scale_(result, -1);
  return result;
}

Variable apply(BinaryKind kind, const Variable& left, const Variable& right) {
  const std::string_view name = name_of(kind);
  THORAX_CHECK(left.defined() && right.defined(), "[{}] no {} operand", name,
               left.defined() ? "second" : "first");
  const Tensor &a = left.value(), &b = right.value();
  THORAX_CHECK(a.dtype() == b.dtype(), "[{}] {} {} and {} {}: the types must be the same; cast one",
               name, a.shape(), name_of(a.dtype()), b.shape(), name_of(b.dtype()));
  THORAX_CHECK(a.device() == b.device(), "[{}] {} is on {}, {} on {}", name, a.shape(),
               to_string(a.device()), b.shape(), to_string(b.device()));
  const ProfileScope scope(name, "forward",
                           [&] { return fmt::format("{} and {}", a.shape(), b.shape()); });
  const Tensor y = compute(kind, a, b);
  if (tracing()) trace_operation({std::string(name), {a, b}, y, nlohmann::json::object()});
  if (!needs_grad({left, right})) return Variable(y);
  // What the gradients are made of: of a sum nothing, of a product the other operand.
  const bool product = kind == BinaryKind::mul, quotient = kind == BinaryKind::div;
  const Tensor saved_a = product && right.requires_grad() ? a : Tensor{};
  const Tensor saved_b = (product && left.requires_grad()) || quotient ? b : Tensor{};
  const Tensor saved_y = quotient && right.requires_grad() ? y : Tensor{};
  return record(std::string(name), y, {left, right},
                [kind, shape_a = a.shape(), shape_b = b.shape(), saved_a, saved_b, saved_y](
                    const Tensor& dy, const std::vector<bool>& needs) {
                  std::vector<Tensor> grads(2);
                  if (kind == BinaryKind::add || kind == BinaryKind::sub) {
                    if (needs[0]) grads[0] = sum_to(dy, shape_a);
                    if (needs[1]) {
                      grads[1] = sum_to(dy, shape_b);
                      if (kind == BinaryKind::sub) grads[1] = negative(grads[1]);
                    }
                  } else if (kind == BinaryKind::mul) {
                    if (needs[0]) grads[0] = sum_to(compute(kind, dy, saved_b), shape_a);
                    if (needs[1]) grads[1] = sum_to(compute(kind, dy, saved_a), shape_b);
                  } else {
                    const Tensor da = compute(kind, dy, saved_b);
                    if (needs[0]) grads[0] = sum_to(da, shape_a);
                    if (needs[1])  // d(a / b) / db = -(a / b) / b
                      grads[1] = negative(sum_to(compute(BinaryKind::mul, da, saved_y), shape_b));
                  }
                  return grads;
                });
}

}  // namespace

Variable add(const Variable& a, const Variable& b) {
  return apply(BinaryKind::add, a, b);
}
Variable sub(const Variable& a, const Variable& b) {
  return apply(BinaryKind::sub, a, b);
}
Variable mul(const Variable& a, const Variable& b) {
  return apply(BinaryKind::mul, a, b);
}
Variable div(const Variable& a, const Variable& b) {
  return apply(BinaryKind::div, a, b);
}

}  // namespace thorax
