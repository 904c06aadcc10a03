#include "kernels/permute/permute.h"

namespace thorax {

Registry<PermuteProvider>& permute_providers() {
  static Registry<PermuteProvider> registry("permute");
  return registry;
}

Shape PermuteProblem::result_shape() const {
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  for (int axis = 0; axis < shape.rank(); ++axis)
    extents[static_cast<std::size_t>(axis)] = shape[axes[static_cast<std::size_t>(axis)]];
  return Shape(
      std::span<const std::int64_t>(extents.data(), static_cast<std::size_t>(shape.rank())));
}

PermuteProblem PermuteProblem::inverse() const {
  PermuteProblem back{.shape = result_shape(), .dtype = dtype};
  for (int axis = 0; axis < shape.rank(); ++axis)
    back.axes[static_cast<std::size_t>(axes[static_cast<std::size_t>(axis)])] = axis;
  return back;
}

std::string PermuteProblem::to_string() const {
  return fmt::format("permute of {} {} to {}", shape, name_of(dtype), result_shape());
}

}  // namespace thorax
