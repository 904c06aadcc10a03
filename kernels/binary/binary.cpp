#include "kernels/binary/binary.h"

#include <algorithm>
#include <array>

namespace thorax {

Registry<BinaryProvider>& binary_providers() {
  static Registry<BinaryProvider> registry("binary");
  return registry;
}

std::string BinaryProblem::to_string() const {
  return fmt::format("{} of {} and {} {}", name_of(kind), a, b, name_of(dtype));
}

Shape broadcast_shape(std::string_view operation, const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  for (int axis = 1; axis <= rank; ++axis) {
    const std::int64_t u = axis <= a.rank() ? a[-axis] : 1, v = axis <= b.rank() ? b[-axis] : 1;
    THORAX_CHECK(u == v || u == 1 || v == 1,
                 "[{}] shapes {} and {}: {} and {} (axis {} from the end) cannot be broadcast; "
                 "extents must be equal or 1",
                 operation, a, b, u, v, axis);
    extents[static_cast<std::size_t>(rank - axis)] = u == 1 ? v : u;
  }
  return Shape(std::span<const std::int64_t>(extents.data(), static_cast<std::size_t>(rank)));
}

}  // namespace thorax
