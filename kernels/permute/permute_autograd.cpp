// Permutations and reshapes on the tape.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <numeric>

#include "engine/autograd/trace.h"
#include "engine/runtime/profile.h"
#include "kernels/permute/permute.h"

namespace thorax {
namespace {

Tensor compute(const PermuteProblem& problem, const Tensor& x) {
  const Tensor y = Tensor::empty(problem.result_shape(), problem.dtype, x.device());
  permute_providers().select(problem, x.device().kind).forward(problem, x, y);
  return y;
}

}  // namespace

Variable permute(const Variable& x, const std::vector<int>& axes) {
  THORAX_CHECK(x.defined(), "[permute] no input");
  const int rank = x.shape().rank();
  const auto named = [&] { return fmt::to_string(fmt::join(axes, ", ")); };
  THORAX_CHECK(static_cast<int>(axes.size()) == rank, "[permute] axes ({}) for {}: name all {}",
               named(), x.shape(), rank);
  PermuteProblem problem{.shape = x.shape(), .dtype = x.value().dtype()};
  std::array<bool, Shape::kMaxRank> used{};
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const int own = axes[i] < 0 ? axes[i] + rank : axes[i];
    THORAX_CHECK(own >= 0 && own < rank && !used[static_cast<std::size_t>(own)],
                 "[permute] axes ({}) for {}: each of 0..{} once", named(), x.shape(), rank - 1);
    used[static_cast<std::size_t>(own)] = true;
    problem.axes[i] = own;
  }
  const ProfileScope scope("permute", "forward", [&] { return problem.to_string(); });
  const Tensor y = compute(problem, x.value());
  if (tracing()) trace_operation({"permute", {x.value()}, y, {{"axes", axes}}});
  return record("permute", y, {x},
                [back = problem.inverse()](const Tensor& dy, const std::vector<bool>&) {
                  return std::vector<Tensor>{compute(back, dy)};
                });
}

Variable transpose(const Variable& x, int first, int second) {
  THORAX_CHECK(x.defined(), "[transpose] no input");
  const int rank = x.shape().rank();
  const int a = first < 0 ? first + rank : first, b = second < 0 ? second + rank : second;
  THORAX_CHECK(a >= 0 && a < rank && b >= 0 && b < rank,
               "[transpose] axes {} and {} of {}: there are {} axes", first, second, x.shape(),
               rank);
  std::vector<int> axes(static_cast<std::size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  std::swap(axes[static_cast<std::size_t>(a)], axes[static_cast<std::size_t>(b)]);
  return permute(x, axes);
}

Variable reshape(const Variable& x, const Shape& shape) {
  THORAX_CHECK(x.defined(), "[reshape] no input");
  THORAX_CHECK(shape.numel() == x.value().numel(), "[reshape] {} has {} elements, {} has {}",
               x.shape(), x.value().numel(), shape, shape.numel());
  const Tensor y = x.value().to_contiguous().reshape(shape);
  if (tracing()) trace_operation({"reshape", {x.value()}, y, nlohmann::json::object()});
  return record("reshape", y, {x}, [from = x.shape()](const Tensor& dy, const std::vector<bool>&) {
    return std::vector<Tensor>{dy.to_contiguous().reshape(from)};
  });
}

Variable flatten(const Variable& x) {
  THORAX_CHECK(x.defined() && x.shape().rank() >= 1, "[flatten] {}: needs an axis of entries",
               x.defined() ? x.shape().to_string() : "no input");
  std::int64_t rest = 1;
  for (int axis = 1; axis < x.shape().rank(); ++axis) rest *= x.shape()[axis];
  return reshape(x, {x.shape()[0], rest});
}

}  // namespace thorax
