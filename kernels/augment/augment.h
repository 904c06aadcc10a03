// Augmentation of a batch of one-channel images and their masks: an affine warp, gamma, salt and
// pepper, a Gaussian blur and additive noise, in this order, each with its own numbers per image.
// The numbers are drawn on the CPU (data/augment.h, draw_augment), and all per-pixel randomness is
// a pure function of them, so that every device makes the same images.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/registry/registry.h"
#include "engine/tensor/tensor.h"

namespace thorax {

// Output pixel (x, y) reads input (ax*x + bx*y + cx, ay*x + by*y + cy).
struct AffineMap {
  double ax = 1, bx = 0, cx = 0;
  double ay = 0, by = 1, cy = 0;
};

// What happens to one image; nothing by default.
struct AugmentImage {
  bool warp = false;  // image: bilinear, mask: nearest; what lies outside is 0
  AffineMap map;
  double gamma = 1;        // pixel -> pixel^gamma
  double salt_pepper = 0;  // share of pixels set to 0 or 1
  bool blur = false;
  double noise = 0;                    // standard deviation of the additive Gaussian noise
  std::uint64_t seed = 0, stream = 0;  // of the per-pixel randomness: streams `stream` and + 1
};

struct AugmentProblem {
  std::int64_t images = 0, height = 0, width = 0;
  double blur_sigma = 0.5;  // pixels, > 0
  int blur_kernel = 11;     // odd: the Gaussian is cut off there, and mirrored at the border
  Shape shape() const { return {images, height, width, 1}; }
  std::string to_string() const;
};

// `images` (f32, in and out 0..1) and `masks` (u8, values kept; undefined: none) are contiguous and
// of problem.shape(); the outputs are other memory than the inputs.
struct AugmentProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const AugmentProblem&);
  void (*run)(const AugmentProblem&, std::span<const AugmentImage> drawn, const Tensor& images,
              const Tensor& masks, const Tensor& out_images, const Tensor& out_masks);
};

Registry<AugmentProvider>& augment_providers();

// One image in place, on the CPU: height x width floats, and as many bytes unless `mask` is null.
// The definition.
void augment_image(const AugmentProblem& problem, const AugmentImage& drawn, float* image,
                   std::uint8_t* mask);

struct AugmentedBatch {
  Tensor images, masks;
};
// Where the images are: N x H x W x 1 f32, the masks, unless undefined, the same in u8; one entry
// of `drawn` per image. Throws Error "[augment] ..." for other shapes or types, or a kernel that is
// not odd and positive.
AugmentedBatch augment_batch(std::span<const AugmentImage> drawn, const Tensor& images,
                             const Tensor& masks, double blur_sigma, int blur_kernel);

}  // namespace thorax
