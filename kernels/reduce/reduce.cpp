#include "kernels/reduce/reduce.h"

namespace thorax {

Registry<ReduceProvider>& reduce_providers() {
  static Registry<ReduceProvider> registry("reduce");
  return registry;
}

Shape ReduceProblem::kept_shape() const {
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const auto i = static_cast<std::size_t>(axis);
    extents[i] = axes[i] ? 1 : shape[axis];
  }
  return Shape(
      std::span<const std::int64_t>(extents.data(), static_cast<std::size_t>(shape.rank())));
}

std::int64_t ReduceProblem::count() const {
  std::int64_t product = 1;
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (axes[static_cast<std::size_t>(axis)]) product *= shape[axis];
  return product;
}

std::string ReduceProblem::to_string() const {
  std::string over;
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (axes[static_cast<std::size_t>(axis)])
      over += fmt::format("{}{}", over.empty() ? "" : ",", axis);
  return fmt::format("sum of {} {} over {}", shape, name_of(dtype), over.empty() ? "none" : over);
}

}  // namespace thorax
