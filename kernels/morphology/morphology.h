// Binary morphology and connected components on masks: u8, N x H x W x 1, 0 = background, anything
// else = foreground. Results are 0 or 1.
//
// Border: everything outside the image is background, for dilation and erosion alike, as
// scipy.ndimage does by default (border_value = 0). So erosion also eats from the image's edge, and
// closing can remove foreground that touches it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/registry/registry.h"
#include "engine/tensor/tensor.h"

namespace thorax {

// Neighbourhood of one iteration: the 4 edge neighbours, or all 8.
enum class Structure : std::uint8_t { cross, square };

constexpr std::string_view name_of(Structure structure) {
  return structure == Structure::cross ? "cross" : "square";
}

struct MorphologyProblem {
  std::int64_t images = 0, height = 0, width = 0;
  Shape shape() const { return {images, height, width, 1}; }
  std::string to_string() const;
};

// Tensors are contiguous and of problem.shape(); outputs are overwritten.
struct MorphologyProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const MorphologyProblem&);
  // out (u8, 0 or 1) = mask after `iterations` >= 0 dilations or erosions.
  void (*dilate)(const MorphologyProblem&, int iterations, Structure, const Tensor& mask,
                 const Tensor& out);
  void (*erode)(const MorphologyProblem&, int iterations, Structure, const Tensor& mask,
                const Tensor& out);
  // labels (i32): 0 = background, else 1, 2, ... in every image, in the order in which a scan over
  // rows meets the components. connectivity: 4 or 8.
  void (*label)(const MorphologyProblem&, int connectivity, const Tensor& mask,
                const Tensor& labels);
};

Registry<MorphologyProvider>& morphology_providers();

// Masks may lie on a GPU; results are on the mask's device. There connected_components, fill_holes
// and keep_largest wait for it: components are described, and chosen, on the host.
//
// All functions throw Error "[morphology] ..." for a mask of another type or rank, a negative
// count, or a connectivity other than 4 and 8. Masks may be channel slices.
Tensor dilate(const Tensor& mask, int iterations, Structure structure = Structure::cross);
Tensor erode(const Tensor& mask, int iterations, Structure structure = Structure::cross);
// `iterations` dilations, then as many erosions (scipy.ndimage.binary_closing).
Tensor close(const Tensor& mask, int iterations, Structure structure = Structure::cross);

struct Component {
  std::int64_t image = 0;
  std::int32_t label = 0;
  std::int64_t area = 0;                                      // pixels
  std::int64_t row0 = 0, column0 = 0, row1 = 0, column1 = 0;  // bounding box, end excluded
  double row = 0, column = 0;                                 // centroid, in pixel indices
};

struct Components {
  Tensor labels;                      // i32, N x H x W x 1
  std::vector<Component> components;  // by image, then label
};

// Labels start at 1 in every image, in scan order (as scipy.ndimage.label).
Components connected_components(const Tensor& mask, int connectivity = 4);

// Foreground plus every background pixel that no 4-connected path of background joins to the
// image's edge (scipy.ndimage.binary_fill_holes).
Tensor fill_holes(const Tensor& mask);

// The `count` largest components of every image; of equal areas the one met first.
Tensor keep_largest(const Tensor& mask, std::int64_t count, int connectivity = 4);

}  // namespace thorax
