// Tensors, shapes, types and devices as text: by << and by fmt.
#pragma once

#include <fmt/format.h>

#include <iosfwd>
#include <string>

#include "engine/tensor/tensor.h"

namespace thorax {

// As NumPy prints arrays, with up to 4 digits behind the point, then type, shape and device:
//   [[ 1.   2.5]
//    [-3.  10. ]] f32 2x2 cpu
// Of more than 1000 elements the first and last 3 of every axis. "undefined" without memory. Copies
// from a device.
std::string to_string(const Tensor& tensor);

std::ostream& operator<<(std::ostream& out, const Tensor& tensor);
std::ostream& operator<<(std::ostream& out, const Shape& shape);
std::ostream& operator<<(std::ostream& out, DType dtype);
std::ostream& operator<<(std::ostream& out, const Device& device);

}  // namespace thorax

template <>
struct fmt::formatter<thorax::Tensor> : fmt::formatter<std::string_view> {
  format_context::iterator format(const thorax::Tensor& tensor, format_context& context) const {
    return fmt::formatter<std::string_view>::format(thorax::to_string(tensor), context);
  }
};
template <>
struct fmt::formatter<thorax::DType> : fmt::formatter<std::string_view> {
  format_context::iterator format(thorax::DType dtype, format_context& context) const {
    return fmt::formatter<std::string_view>::format(thorax::name_of(dtype), context);
  }
};
template <>
struct fmt::formatter<thorax::Device> : fmt::formatter<std::string_view> {
  format_context::iterator format(const thorax::Device& device, format_context& context) const {
    return fmt::formatter<std::string_view>::format(thorax::to_string(device), context);
  }
};
