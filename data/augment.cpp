#include "data/augment.h"

#include <cmath>
#include <numbers>

#include "engine/runtime/philox.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

// Inverse of shear * rotate * scale about the centre of the pixel grid.
AffineMap inverse_map(const AugmentDraw& d, int height, int width) {
  const double angle = d.rotate * std::numbers::pi / 180.0;
  const double c = std::cos(angle), s = std::sin(angle);
  const double sx = d.flip_x ? -d.scale_x : d.scale_x;
  // forward = [1 k; 0 1] * [c -s; s c] * [sx 0; 0 1], in image axes (y down: positive turns
  // clockwise)
  const double k = d.shear_x;
  const double m00 = (c + k * s) * sx, m01 = -s + k * c, m10 = s * sx, m11 = c;
  const double det = m00 * m11 - m01 * m10;
  AffineMap a;
  a.ax = m11 / det;
  a.bx = -m01 / det;
  a.ay = -m10 / det;
  a.by = m00 / det;
  const double ox = (width - 1) / 2.0, oy = (height - 1) / 2.0;
  a.cx = ox - a.ax * ox - a.bx * oy;
  a.cy = oy - a.ay * ox - a.by * oy;
  return a;
}

}  // namespace

AugmentDraw draw_augment(const AugmentConfig& c, uint64_t seed, int64_t epoch, int64_t index) {
  // Every value is drawn whether used or not, so changing one probability leaves the others' draws.
  // Three streams a sample: decisions, salt and pepper, noise. The top bit keeps them apart from
  // the streams that shuffle the epochs.
  const uint64_t sample = (static_cast<uint64_t>(epoch) << 36 ^ static_cast<uint64_t>(index)) * 4;
  const uint64_t stream = sample | uint64_t{1} << 63;
  Philox random(seed, stream);
  const auto drawn = [&](double low, double high, double probability, double neutral) {
    const bool on = random.uniform() < probability;
    const double value = random.uniform(low, high);
    return on ? value : neutral;
  };
  AugmentDraw d;
  d.scale_x = drawn(c.scale_x_min, c.scale_x_max, c.scale_x_probability, 1);
  d.rotate = drawn(c.rotate_min, c.rotate_max, c.rotate_probability, 0);
  d.shear_x = drawn(c.shear_x_min, c.shear_x_max, c.shear_x_probability, 0);
  d.gamma = drawn(c.gamma_min, c.gamma_max, c.gamma_probability, 1);
  d.salt_pepper = random.uniform() < c.salt_pepper_probability;
  d.blur = random.uniform() < c.blur_probability;
  d.noise = random.uniform() < c.noise_probability;
  d.flip_x = random.uniform() < c.flip_x_probability;
  d.seed = seed;
  d.stream = stream + 1;
  return d;
}

AugmentImage augment_numbers(const AugmentConfig& c, const AugmentDraw& d, int height, int width) {
  AugmentImage image;
  image.warp = d.scale_x != 1 || d.rotate != 0 || d.shear_x != 0 || d.flip_x;
  if (image.warp) image.map = inverse_map(d, height, width);
  image.gamma = d.gamma;
  image.salt_pepper = d.salt_pepper ? c.salt_pepper_amount : 0;
  image.blur = d.blur;
  image.noise = d.noise ? c.noise_percent / 100.0 : 0;
  image.seed = d.seed;
  image.stream = d.stream;
  return image;
}

void apply_augment(const AugmentConfig& c, const AugmentDraw& d, Image& image, ImageU8* mask) {
  THORAX_CHECK(image.channels == 1 && image.height > 0 && image.width > 0,
               "[augment] image {}x{}x{}: one channel is wanted", image.height, image.width,
               image.channels);
  THORAX_CHECK(
      !mask || (mask->height == image.height && mask->width == image.width && mask->channels == 1),
      "[augment] mask {}x{}x{} does not fit image {}x{}", mask->height, mask->width, mask->channels,
      image.height, image.width);
  const AugmentProblem problem{.images = 1,
                               .height = image.height,
                               .width = image.width,
                               .blur_sigma = c.blur_sigma,
                               .blur_kernel = c.blur_kernel};
  augment_image(problem, augment_numbers(c, d, image.height, image.width), image.pixels.data(),
                mask ? mask->pixels.data() : nullptr);
}

void augment(const AugmentConfig& config, uint64_t seed, int64_t epoch, int64_t index, Image& image,
             ImageU8* mask) {
  apply_augment(config, draw_augment(config, seed, epoch, index), image, mask);
}

}  // namespace thorax
