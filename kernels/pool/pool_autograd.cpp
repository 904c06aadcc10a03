// Pooling on the tape.
#include "engine/autograd/trace.h"
#include "engine/runtime/profile.h"
#include "kernels/pool/pool.h"

namespace thorax {
namespace {

Variable pool(const char* name, const PoolProblem& problem, const Variable& x, const Tensor& out) {
  const ProfileScope scope(name, "forward", [&] { return problem.to_string(); });
  const Device device = x.value().device();
  const Tensor y =
      out.defined() ? out : Tensor::empty(problem.output_shape(), problem.dtype, device);
  const bool tracked = needs_grad({x});
  // One byte per output is all that the backward pass of a maximum needs.
  const Tensor argmax = tracked && problem.kind == PoolKind::max
                            ? Tensor::empty(problem.output_shape(), DType::u8, device)
                            : Tensor{};
  pool_providers().select(problem, device.kind).forward(problem, x.value(), y, argmax);
  if (tracing())
    trace_operation({name,
                     {x.value()},
                     y,
                     {{"kernel", {problem.kernel_h, problem.kernel_w}},
                      {"stride", {problem.stride_h, problem.stride_w}},
                      {"pad", {problem.pad_h, problem.pad_w}},
                      {"ceil_mode", problem.ceil_mode},
                      {"count_include_pad", problem.count_include_pad}}});
  if (!tracked) return Variable(y);
  return record(name, y, {x}, [name, problem, argmax](const Tensor& dy, const std::vector<bool>&) {
    const ProfileScope backward_scope(name, "backward", [&] { return problem.to_string(); });
    const Tensor dx = Tensor::empty(problem.input_shape(), problem.dtype, dy.device());
    pool_providers().select(problem, dy.device().kind).backward(problem, dy, argmax, dx);
    return std::vector<Tensor>{dx};
  });
}

}  // namespace

Variable max_pool2d(const Variable& x, const PoolOptions& options) {
  return pool("max_pool2d", pool_problem(PoolKind::max, x.value(), options), x, options.out);
}

Variable avg_pool2d(const Variable& x, const PoolOptions& options) {
  return pool("avg_pool2d", pool_problem(PoolKind::avg, x.value(), options), x, options.out);
}

Variable global_avg_pool(const Variable& x) {
  THORAX_CHECK(x.value().rank() == 4, "[pool] input must be N x H x W x C, got {}", x.shape());
  const std::int64_t n = x.shape()[0], h = x.shape()[1], w = x.shape()[2], c = x.shape()[3];
  THORAX_CHECK(h > 0 && w > 0, "[pool] global average of {}: no pixels", x.shape());
  PoolProblem problem = pool_problem(PoolKind::avg, x.value(), {.kernel = 1});
  problem.kernel_h = problem.stride_h = h;
  problem.kernel_w = problem.stride_w = w;
  const ProfileScope scope("global_avg_pool", "forward", [&] { return problem.to_string(); });
  // One window per image; the result keeps no spatial axes.
  const Device device = x.value().device();
  const Tensor y = Tensor::empty({n, c}, problem.dtype, device);
  pool_providers()
      .select(problem, device.kind)
      .forward(problem, x.value(), y.reshape({n, 1, 1, c}), {});
  if (tracing()) trace_operation({"global_avg_pool", {x.value()}, y, nlohmann::json::object()});
  return record(
      "global_avg_pool", y, {x}, [problem, n, c](const Tensor& dy, const std::vector<bool>&) {
        const ProfileScope backward_scope("global_avg_pool", "backward",
                                          [&] { return problem.to_string(); });
        const Tensor dx = Tensor::empty(problem.input_shape(), problem.dtype, dy.device());
        pool_providers()
            .select(problem, dy.device().kind)
            .backward(problem, dy.to_contiguous().reshape({n, 1, 1, c}), {}, dx);
        return std::vector<Tensor>{dx};
      });
}

}  // namespace thorax
