// The definition: one neighbourhood test a pixel and iteration, one flood fill a component.
#include <algorithm>

#include "kernels/morphology/morphology.h"

namespace thorax {
namespace {

// The image's pixel, or background outside.
bool pixel(const MorphologyProblem& p, const std::uint8_t* image, std::int64_t row,
           std::int64_t column) {
  return row >= 0 && row < p.height && column >= 0 && column < p.width &&
         image[row * p.width + column] != 0;
}

// Calls visit(row, column) for the neighbours of a pixel.
template <class Visit>
void for_neighbours(std::int64_t row, std::int64_t column, bool diagonal, const Visit& visit) {
  for (std::int64_t r = -1; r <= 1; ++r)
    for (std::int64_t c = -1; c <= 1; ++c)
      if ((r != 0 || c != 0) && (diagonal || r == 0 || c == 0)) visit(row + r, column + c);
}

// Dilation sets a pixel when it or a neighbour is set, erosion clears it when one is clear.
void iterate(const MorphologyProblem& p, int iterations, Structure structure, bool dilation,
             const Tensor& mask, const Tensor& out) {
  const std::int64_t pixels = p.height * p.width;
  for (std::int64_t n = 0; n < p.images; ++n) {
    std::uint8_t* image = out.data<std::uint8_t>() + n * pixels;
    std::transform(mask.data<std::uint8_t>() + n * pixels,
                   mask.data<std::uint8_t>() + (n + 1) * pixels, image,
                   [](std::uint8_t value) { return static_cast<std::uint8_t>(value != 0); });
    for (int iteration = 0; iteration < iterations; ++iteration) {
      const std::vector<std::uint8_t> before(image, image + pixels);
      for (std::int64_t row = 0; row < p.height; ++row) {
        for (std::int64_t column = 0; column < p.width; ++column) {
          bool value = pixel(p, before.data(), row, column);
          for_neighbours(row, column, structure == Structure::square, [&](auto r, auto c) {
            if (pixel(p, before.data(), r, c) == dilation) value = dilation;
          });
          image[row * p.width + column] = value;
        }
      }
    }
  }
}

void label(const MorphologyProblem& p, int connectivity, const Tensor& mask, const Tensor& labels) {
  const std::int64_t pixels = p.height * p.width;
  for (std::int64_t n = 0; n < p.images; ++n) {
    const std::uint8_t* image = mask.data<std::uint8_t>() + n * pixels;
    std::int32_t* to = labels.data<std::int32_t>() + n * pixels;
    std::fill(to, to + pixels, 0);
    std::int32_t next = 0;
    std::vector<std::int64_t> stack;
    for (std::int64_t start = 0; start < pixels; ++start) {
      if (image[start] == 0 || to[start] != 0) continue;
      to[start] = ++next;
      stack.push_back(start);
      while (!stack.empty()) {
        const std::int64_t at = stack.back();
        stack.pop_back();
        for_neighbours(at / p.width, at % p.width, connectivity == 8, [&](auto r, auto c) {
          if (!pixel(p, image, r, c) || to[r * p.width + c] != 0) return;
          to[r * p.width + c] = next;
          stack.push_back(r * p.width + c);
        });
      }
    }
  }
}

}  // namespace

THORAX_PROVIDER(morphology_reference, morphology_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = [](const MorphologyProblem&) { return 0; },
                 .dilate = [](const MorphologyProblem& p, int iterations, Structure s,
                              auto&... t) { iterate(p, iterations, s, true, t...); },
                 .erode = [](const MorphologyProblem& p, int iterations, Structure s,
                             auto&... t) { iterate(p, iterations, s, false, t...); },
                 .label = label});

}  // namespace thorax
