// Sums and means on the tape.
#include "engine/autograd/trace.h"
#include "engine/runtime/profile.h"
#include "kernels/reduce/reduce.h"

namespace thorax {
namespace {

Tensor compute(const ReduceProblem& problem, const Tensor& x) {
  const Tensor y = Tensor::empty(problem.kept_shape(), problem.dtype, x.device());
  reduce_providers().select(problem, x.device().kind).forward(problem, x, y);
  return y;
}

Variable apply(const char* name, const Variable& x, std::span<const int> axes, bool keepdim) {
  THORAX_CHECK(x.defined(), "[{}] no input", name);
  ReduceProblem problem{.shape = x.shape(), .dtype = x.value().dtype()};
  const int rank = problem.shape.rank();
  for (const int axis : axes) {
    const int own = axis < 0 ? axis + rank : axis;
    THORAX_CHECK(own >= 0 && own < rank, "[{}] axis {} of {}: there are {} axes", name, axis,
                 problem.shape, rank);
    bool& chosen = problem.axes[static_cast<std::size_t>(own)];
    THORAX_CHECK(!chosen, "[{}] axis {} of {} is named twice", name, axis, problem.shape);
    chosen = true;
  }
  const bool average = std::string_view(name) == "mean";
  if (average) {
    THORAX_CHECK(problem.count() > 0, "[mean] {} has no elements to average", problem.shape);
    problem.scale = 1 / static_cast<double>(problem.count());
  }
  std::vector<std::int64_t> extents;
  for (int axis = 0; axis < rank; ++axis) {
    if (!problem.axes[static_cast<std::size_t>(axis)])
      extents.push_back(problem.shape[axis]);
    else if (keepdim)
      extents.push_back(1);
  }
  if (extents.empty()) extents.push_back(1);
  const ProfileScope scope(name, "forward", [&] { return problem.to_string(); });
  const Tensor y =
      compute(problem, x.value()).reshape(Shape(std::span<const std::int64_t>(extents)));
  if (tracing()) trace_operation({name, {x.value()}, y, nlohmann::json::object()});
  return record(name, y, {x}, [problem](const Tensor& dy, const std::vector<bool>&) {
    const Tensor dx = Tensor::empty(problem.shape, problem.dtype, dy.device());
    reduce_providers()
        .select(problem, dy.device().kind)
        .backward(problem, dy.to_contiguous().reshape(problem.kept_shape()), dx);
    return std::vector<Tensor>{dx};
  });
}

Variable apply_to_all(const char* name, const Variable& x) {
  constexpr int kAll[] = {0, 1, 2, 3, 4};
  static_assert(Shape::kMaxRank == 5);
  const auto rank = static_cast<std::size_t>(x.defined() ? x.shape().rank() : 0);
  return apply(name, x, std::span<const int>(kAll, rank), false);
}

}  // namespace

Tensor sum_to(const Tensor& t, const Shape& shape) {
  if (t.shape() == shape) return t;
  const int missing = t.rank() - shape.rank();
  ReduceProblem problem{.shape = t.shape(), .dtype = t.dtype()};
  bool any = false;
  for (int axis = 0; axis < t.rank(); ++axis) {
    const bool repeated = (axis < missing || shape[axis - missing] == 1) && t.size(axis) != 1;
    problem.axes[static_cast<std::size_t>(axis)] = repeated;
    any = any || repeated;
  }
  return (any ? compute(problem, t) : t.to_contiguous()).reshape(shape);
}

Variable sum(const Variable& x) {
  return apply_to_all("sum", x);
}
Variable sum(const Variable& x, std::initializer_list<int> axes, bool keepdim) {
  return apply("sum", x, {axes.begin(), axes.size()}, keepdim);
}
Variable mean(const Variable& x) {
  return apply_to_all("mean", x);
}
Variable mean(const Variable& x, std::initializer_list<int> axes, bool keepdim) {
  return apply("mean", x, {axes.begin(), axes.size()}, keepdim);
}

}  // namespace thorax
