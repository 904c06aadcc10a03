#include "engine/tensor/print.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <vector>

namespace thorax {
namespace {

constexpr std::int64_t kWhole = 1000;  // tensors of more elements are abridged
constexpr std::int64_t kEdge = 3;      // to so many at either end of an axis
constexpr std::size_t kLine = 79;

bool is_float(DType dtype) {
  return dtype != DType::i32 && dtype != DType::i64 && dtype != DType::u8;
}

class Printer {
 public:
  explicit Printer(const Tensor& tensor)
      : shape_(tensor.shape()),
        whole_numbers_(!is_float(tensor.dtype())),
        abridged_(tensor.numel() > kWhole),
        values_(tensor.to(Device{}).to_contiguous().to(whole_numbers_ ? DType::i64 : DType::f64)) {
    visit(0, 0);
    choose_format();
    for (const std::int64_t index : shown_) width_ = std::max(width_, text(index).size());
  }

  std::string run() {
    if (shape_.rank() == 0) return text(0);
    return axis(0, 0);
  }

 private:
  // Positions along an axis that are shown; -1 stands for those left out.
  std::vector<std::int64_t> positions(int axis) const {
    const std::int64_t extent = shape_[axis];
    std::vector<std::int64_t> result;
    for (std::int64_t i = 0; i < extent; ++i) {
      const bool edge = !abridged_ || extent <= 2 * kEdge || i < kEdge || i >= extent - kEdge;
      if (edge)
        result.push_back(i);
      else if (result.back() != -1) {
        result.push_back(-1);
        i = extent - kEdge - 1;
      }
    }
    return result;
  }
  std::int64_t stride(int axis) const {
    std::int64_t product = 1;
    for (int i = axis + 1; i < shape_.rank(); ++i) product *= shape_[i];
    return product;
  }
  void visit(int axis, std::int64_t base) {
    if (axis == shape_.rank()) return shown_.push_back(base);
    for (const std::int64_t i : positions(axis))
      if (i >= 0) visit(axis + 1, base + i * stride(axis));
  }

  // Fixed point unless the numbers span too much, as NumPy decides it.
  void choose_format() {
    if (whole_numbers_) return;
    double largest = 0, smallest = INFINITY;
    for (const std::int64_t index : shown_) {
      const double v = std::abs(values_.data<double>()[index]);
      if (!std::isfinite(v)) continue;
      largest = std::max(largest, v);
      if (v > 0) smallest = std::min(smallest, v);
    }
    scientific_ = largest >= 1e8 || (largest > 0 && (smallest < 1e-4 || largest / smallest > 1e7));
    if (scientific_) return;
    for (const std::int64_t index : shown_) {
      const double v = values_.data<double>()[index];
      if (!std::isfinite(v)) continue;
      std::string digits = fmt::format("{:.4f}", v);
      digits.erase(digits.find_last_not_of('0') + 1);
      decimals_ = std::max(decimals_, digits.size() - digits.find('.') - 1);
    }
  }
  std::string text(std::int64_t index) const {
    if (whole_numbers_) return fmt::format("{}", values_.data<std::int64_t>()[index]);
    const double v = values_.data<double>()[index];
    if (!std::isfinite(v)) return fmt::format("{}", v);
    if (scientific_) return fmt::format("{:.4e}", v);
    // Padded behind, so that points stand below one another.
    std::string digits = fmt::format("{:.4f}", v);
    digits.erase(std::min(digits.find_last_not_of('0') + 1, digits.find('.') + decimals_ + 1));
    digits.resize(digits.find('.') + decimals_ + 1, ' ');
    return digits;
  }

  std::string axis(int axis, std::int64_t base) {
    const auto depth = static_cast<std::size_t>(axis) + 1;
    const bool last = axis == shape_.rank() - 1;
    std::string result = "[";
    std::size_t column = depth;
    bool first = true;
    for (const std::int64_t i : positions(axis)) {
      std::string item = i < 0  ? "..."
                         : last ? fmt::format("{:>{}}", text(base + i), width_)
                                : this->axis(axis + 1, base + i * stride(axis));
      if (!first) {
        const bool wrap = last && column + 1 + item.size() > kLine;
        const auto breaks = static_cast<std::size_t>(shape_.rank() - 1 - axis);
        if (!last || wrap) {
          result += std::string(wrap ? 1 : breaks, '\n') + std::string(depth, ' ');
          column = depth;
        } else {
          result += ' ';
          ++column;
        }
      }
      column += item.size();
      result += item;
      first = false;
    }
    return result + "]";
  }

  Shape shape_;
  bool whole_numbers_, abridged_, scientific_ = false;
  Tensor values_;
  std::vector<std::int64_t> shown_;
  std::size_t decimals_ = 0, width_ = 0;
};

}  // namespace

std::string to_string(const Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  return fmt::format("{} {} {} {}", Printer(tensor).run(), name_of(tensor.dtype()), tensor.shape(),
                     to_string(tensor.device()));
}

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  return out << to_string(tensor);
}
std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << shape.to_string();
}
std::ostream& operator<<(std::ostream& out, DType dtype) {
  return out << name_of(dtype);
}
std::ostream& operator<<(std::ostream& out, const Device& device) {
  return out << to_string(device);
}

}  // namespace thorax
