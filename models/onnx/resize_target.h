// The size that a Resize of an ONNX file gives.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "models/onnx/node_reader.h"

namespace thorax::onnx {

// Height and width that a Resize gives: by sizes N, C, H, W, or by scales.
struct ResizeTarget {
  std::array<double, 2> scale{};
  Integers sizes;

  std::array<std::int64_t, 2> of(const Shape& x) const {
    if (!sizes.empty()) {
      THORAX_CHECK(
          sizes[0] == x[0] && sizes[1] == x[3],
          "its sizes are for a batch of {} with {} channels; here are {} with {}: export it "
          "with scales, or for a batch of this size",
          sizes[0], sizes[1], x[0], x[3]);
      return {sizes[2], sizes[3]};
    }
    std::array<std::int64_t, 2> result{};
    for (const int axis : {0, 1}) {
      // The scales of a file are floats: 7 / 3 times 3 is not 7.
      const double size = static_cast<double>(x[1 + axis]) * scale[static_cast<std::size_t>(axis)];
      THORAX_CHECK(std::abs(size - std::round(size)) < 1e-3,
                   "{} pixels times {} are no whole number", x[1 + axis],
                   scale[static_cast<std::size_t>(axis)]);
      result[static_cast<std::size_t>(axis)] = std::llround(size);
    }
    return result;
  }
};

// Throws Error where they are computed, or of another form.
inline ResizeTarget resize_target(const ParsedFile& file, const NodeReader& at) {
  ResizeTarget target;
  const std::string& scales = at.input(2);
  if (const auto found = file.tensors.find(scales);
      found != file.tensors.end() && found->second.numel() > 0) {
    const Tensor& values = found->second;
    const float* by = values.data<float>();
    THORAX_CHECK(values.numel() == 4 && by[0] == 1 && by[1] == 1 && by[2] > 0 && by[3] > 0 &&
                     by[2] <= 1024 && by[3] <= 1024,
                 "{}: read are scales [1, 1, height, width]", at.where());
    target.scale = {by[2], by[3]};
    return target;
  }
  const auto sizes = file.integers.find(at.input(3));
  THORAX_CHECK(sizes != file.integers.end() && sizes->second.size() == 4,
               "{}: neither scales nor sizes are four constants", at.where());
  for (const std::int64_t size : sizes->second)
    THORAX_CHECK(size > 0 && size <= (1 << 16), "{}: sizes [{}]", at.where(),
                 fmt::join(sizes->second, ", "));
  target.sizes = sizes->second;
  return target;
}

}  // namespace thorax::onnx
