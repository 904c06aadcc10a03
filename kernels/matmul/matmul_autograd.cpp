// Matrix products on the tape, by the providers of conv2d.
#include "engine/autograd/trace.h"
#include "engine/runtime/flop_count.h"
#include "engine/runtime/profile.h"
#include "kernels/common/precision.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/matmul/matmul.h"

namespace thorax {
namespace {

// `count` products of M x K and K x N. As a convolution: pixels = M, in channels = N, out = K.
struct Products {
  std::int64_t count = 1, m = 0, k = 0, n = 0;
  DType dtype = DType::f32;

  Conv2dProblem problem() const {
    return {.batch = 1,
            .height = m,
            .width = 1,
            .in_channels = n,
            .out_channels = k,
            .kernel_h = 1,
            .kernel_w = 1,
            .dtype = dtype};
  }
  bool empty() const { return count == 0 || m == 0 || n == 0 || k == 0; }
  void count_work() const { count_flops(static_cast<double>(count) * problem().flops()); }
};

// Product `i` of a contiguous tensor of `count` blocks of `shape`.
Tensor block(const Tensor& t, std::int64_t count, std::int64_t i, const Shape& shape) {
  return t.reshape({count, shape.numel()}).batch_slice(i, 1).reshape(shape);
}

// result = a b
void multiply(const Products& p, const Tensor& a, const Tensor& b, const Tensor& result) {
  if (p.empty()) return result.fill(0);
  p.count_work();
  const Conv2dProblem problem = p.problem();
  const auto& provider = conv2d_provider(problem, Conv2dPass::backward_data, a.device());
  for (std::int64_t i = 0; i < p.count; ++i)
    provider.backward_data(problem, block(a, p.count, i, problem.output_shape()),
                           block(b, p.count, i, problem.filter_shape()), {},
                           block(result, p.count, i, problem.input_shape()));
}

// da = dy b^T
void gradient_a(const Products& p, const Tensor& dy, const Tensor& b, const Tensor& da) {
  if (p.empty()) return da.fill(0);
  p.count_work();
  const Conv2dProblem problem = p.problem();
  const auto& provider = conv2d_provider(problem, Conv2dPass::forward, dy.device());
  for (std::int64_t i = 0; i < p.count; ++i)
    provider.forward(problem, block(dy, p.count, i, problem.input_shape()),
                     block(b, p.count, i, problem.filter_shape()), {}, {},
                     block(da, p.count, i, problem.output_shape()));
}

// a^T dy, in float32 where the operands have 16 bits.
Tensor gradient_b(const Products& p, const Tensor& a, const Tensor& dy, const Shape& shape) {
  const Tensor db = Tensor::empty(shape, parameter_dtype(p.dtype), dy.device());
  if (p.empty()) {
    db.fill(0);
    return db;
  }
  p.count_work();
  const Conv2dProblem problem = p.problem();
  const auto& provider = conv2d_provider(problem, Conv2dPass::backward_filter, dy.device());
  for (std::int64_t i = 0; i < p.count; ++i)
    provider.backward_filter(problem, block(dy, p.count, i, problem.input_shape()),
                             block(a, p.count, i, problem.output_shape()), {},
                             block(db, p.count, i, problem.filter_shape()), {});
  return db;
}

Products products_of(const Tensor& a, const Tensor& b) {
  THORAX_CHECK(a.rank() >= 2 && b.rank() >= 2,
               "[matmul] {} and {}: both need two axes or more; reshape a vector to a matrix",
               a.shape(), b.shape());
  THORAX_CHECK(a.size(-1) == b.size(-2),
               "[matmul] {} and {}: {} columns of the first for {} rows of the second", a.shape(),
               b.shape(), a.size(-1), b.size(-2));
  THORAX_CHECK(a.dtype() == b.dtype(),
               "[matmul] {} {} and {} {}: the types must be the same; cast one", a.shape(),
               name_of(a.dtype()), b.shape(), name_of(b.dtype()));
  THORAX_CHECK(a.device() == b.device(), "[matmul] {} is on {}, {} on {}", a.shape(),
               to_string(a.device()), b.shape(), to_string(b.device()));
  Products p{.k = a.size(-1), .n = b.size(-1), .dtype = a.dtype()};
  std::int64_t leading = 1;
  for (int axis = 0; axis < a.rank() - 2; ++axis) leading *= a.size(axis);
  if (b.rank() == 2) {  // all matrices of a below one another
    p.m = leading * a.size(-2);
    return p;
  }
  bool same = a.rank() == b.rank();
  for (int axis = 0; same && axis < a.rank() - 2; ++axis) same = a.size(axis) == b.size(axis);
  THORAX_CHECK(same,
               "[matmul] {} and {}: the second must be one matrix or have the first's leading axes",
               a.shape(), b.shape());
  p.count = leading;
  p.m = a.size(-2);
  return p;
}

}  // namespace

Variable matmul(const Variable& left, const Variable& right) {
  THORAX_CHECK(left.defined() && right.defined(), "[matmul] no {} operand",
               left.defined() ? "second" : "first");
  const Products products = products_of(left.value(), right.value());
  const ProfileScope scope("matmul", "forward",
                           [&] { return fmt::format("{} and {}", left.shape(), right.shape()); });
  const Tensor a = left.value().to_contiguous(), b = right.value().to_contiguous();
  std::vector<std::int64_t> extents(a.shape().extents().begin(), a.shape().extents().end());
  extents.back() = products.n;
  const Tensor y =
      Tensor::empty(Shape(std::span<const std::int64_t>(extents)), products.dtype, a.device());
  multiply(products, a, b, y);
  if (tracing())
    trace_operation({"matmul", {left.value(), right.value()}, y, nlohmann::json::object()});
  const Tensor saved_a = right.requires_grad() ? a : Tensor{};
  const Tensor saved_b = left.requires_grad() ? b : Tensor{};
  return record("matmul", y, {left, right},
                [products, saved_a, saved_b, shape_a = a.shape(), shape_b = b.shape()](
                    const Tensor& grad, const std::vector<bool>& needs) {
                  const Tensor dy = grad.to_contiguous();
                  std::vector<Tensor> grads(2);
                  if (needs[0]) {
                    grads[0] = Tensor::empty(shape_a, products.dtype, dy.device());
                    gradient_a(products, dy, saved_b, grads[0]);
                  }
                  if (needs[1])
                    grads[1] = gradient_b(products, saved_a, dy, shape_b).to(products.dtype);
                  return grads;
                });
}

}  // namespace thorax
