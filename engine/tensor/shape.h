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
  // Checks once, here, that no product of extents or bytes can overflow later.
  explicit Shape(std::span<const std::int64_t> extents);

  int rank() const { return rank_; }
  // Extent of axis `axis`; a negative axis counts from the end.
  std::int64_t operator[](int axis) const {
    const int index = axis < 0 ? axis + rank_ : axis;
    if (index < 0 || index >= rank_) fail_axis(axis);
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
  std::string to_string() const;
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i) {
      if (a.extents_[static_cast<std::size_t>(i)] != b.extents_[static_cast<std::size_t>(i)])
        return false;
    }
    return true;
  }

 private:
  [[noreturn]] void fail_axis(int axis) const;

  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

}  // namespace thorax

template <>
struct fmt::formatter<thorax::Shape> {
  constexpr auto parse(format_parse_context& context) { return context.begin(); }
  format_context::iterator format(const thorax::Shape& shape, format_context& context) const;
};
