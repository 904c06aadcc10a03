#include "engine/tensor/shape.h"

#include <fmt/format.h>

namespace thorax {

Shape::Shape(std::span<const std::int64_t> extents) {
  THORAX_CHECK(extents.size() <= kMaxRank, "[shape] rank {} is above the limit of {}",
               extents.size(), kMaxRank);
  for (const std::int64_t extent : extents) {
    THORAX_CHECK(extent >= 0, "[shape] negative extent {}", extent);
    extents_[static_cast<std::size_t>(rank_++)] = extent;
  }
  std::int64_t product = 1;
  for (const std::int64_t extent : extents)
    if (extent != 0 && (__builtin_mul_overflow(product, extent, &product) || product > kMaxNumel))
      fail("[shape] {} has too many elements", to_string());
}

std::string Shape::to_string() const {
  return rank_ == 0 ? "scalar" : fmt::to_string(fmt::join(extents(), "x"));
}

void Shape::fail_axis(int axis) const {
  fail("[shape] axis {} of {}", axis, to_string());
}

}  // namespace thorax

fmt::format_context::iterator fmt::formatter<thorax::Shape>::format(const thorax::Shape& shape,
                                                                    format_context& context) const {
  return fmt::format_to(context.out(), "{}", shape.to_string());
}
