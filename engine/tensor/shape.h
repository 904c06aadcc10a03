// Extents of a tensor, outermost first.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "engine/tensor/error.h"

namespace thorax {

// Up to 5 extents, stored inline. Rank 4 is N x H x W x C for activations and
// K x R x S x C (out, height, width, in) for filters.
class Shape {
 public:
  static constexpr int kMaxRank = 5;
  // Elements (zero extents not counted) of at most 8 bytes each stay addressable.
  static constexpr std::int64_t kMaxNumel = std::int64_t{1} << 59;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents)
      : Shape(std::span<const std::int64_t>(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const std::int64_t> extents) {
    THORAX_CHECK(extents.size() <= kMaxRank, "[shape] rank {} is above the limit of {}",
                 extents.size(), kMaxRank);
    for (const std::int64_t extent : extents) {
      THORAX_CHECK(extent >= 0, "[shape] negative extent {}", extent);
      extents_[static_cast<std::size_t>(rank_++)] = extent;
    }
    // Checked here, once, so that no product of extents or bytes can overflow later.
    std::int64_t product = 1;
    for (const std::int64_t extent : extents)
      if (extent != 0 && (__builtin_mul_overflow(product, extent, &product) || product > kMaxNumel))
        fail("[shape] {} has too many elements", to_string());
  }

  int rank() const { return rank_; }
  // Extent of axis `axis`; a negative axis counts from the end.
  std::int64_t operator[](int axis) const {
    const int index = axis < 0 ? axis + rank_ : axis;
    THORAX_CHECK(index >= 0 && index < rank_, "[shape] axis {} of {}", axis, to_string());
    return extents_[static_cast<std::size_t>(index)];
  }
  // Product of the extents; 1 for rank 0.
  std::int64_t numel() const {
    std::int64_t product = 1;
    for (int i = 0; i < rank_; ++i) product *= extents_[static_cast<std::size_t>(i)];
    return product;
  }
  std::span<const std::int64_t> extents() const {
    return {extents_.data(), static_cast<std::size_t>(rank_)};
  }
  // "1x512x512x3"; "scalar" for rank 0.
  std::string to_string() const {
    std::string text;
    for (int i = 0; i < rank_; ++i) {
      if (i) text += 'x';
      text += std::to_string(extents_[static_cast<std::size_t>(i)]);
    }
    return text.empty() ? "scalar" : text;
  }
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i) {
      if (a.extents_[static_cast<std::size_t>(i)] != b.extents_[static_cast<std::size_t>(i)])
        return false;
    }
    return true;
  }

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

}  // namespace thorax

template <>
struct fmt::formatter<thorax::Shape> : fmt::formatter<std::string> {
  auto format(const thorax::Shape& shape, format_context& context) const {
    return fmt::formatter<std::string>::format(shape.to_string(), context);
  }
};
