#include "data/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "engine/runtime/philox.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

// Output pixel (x, y) reads input (ax*x + bx*y + cx, ay*x + by*y + cy).
struct Affine {
  double ax = 1, bx = 0, cx = 0;
  double ay = 0, by = 1, cy = 0;
};

// Inverse of shear * rotate * scale about the centre of the pixel grid.
Affine inverse_map(const AugmentDraw& d, int height, int width) {
  const double angle = d.rotate * std::numbers::pi / 180.0;
  const double c = std::cos(angle), s = std::sin(angle);
  const double sx = d.flip_x ? -d.scale_x : d.scale_x;
  // forward = [1 k; 0 1] * [c -s; s c] * [sx 0; 0 1], in image axes (y down: positive turns
  // clockwise)
  const double k = d.shear_x;
  const double m00 = (c + k * s) * sx, m01 = -s + k * c, m10 = s * sx, m11 = c;
  const double det = m00 * m11 - m01 * m10;
  Affine a;
  a.ax = m11 / det;
  a.bx = -m01 / det;
  a.ay = -m10 / det;
  a.by = m00 / det;
  const double ox = (width - 1) / 2.0, oy = (height - 1) / 2.0;
  a.cx = ox - a.ax * ox - a.bx * oy;
  a.cy = oy - a.ay * ox - a.by * oy;
  return a;
}

// Bilinear; outside is 0. The image gets a border of one black pixel, so that every read position
// clamped to that border blends correctly and the loop needs no branches.
Image warp(const Image& image, const Affine& a) {
  const int height = image.height, width = image.width, stride = width + 3;
  std::vector<float> padded(static_cast<size_t>(height + 3) * stride, 0.f);
  for (int y = 0; y < height; ++y)
    std::copy(image.row(y), image.row(y) + width,
              padded.data() + static_cast<size_t>(y + 1) * stride + 1);
  Image out(height, width, 1);
  const float ax = static_cast<float>(a.ax), ay = static_cast<float>(a.ay);
  const float top_x = static_cast<float>(width + 1), top_y = static_cast<float>(height + 1);
  for (int y = 0; y < height; ++y) {
    float* to = out.row(y);
    const float x0 = static_cast<float>(a.bx * y + a.cx + 1),
                y0 = static_cast<float>(a.by * y + a.cy + 1);
    const float* base = padded.data();
    for (int x = 0; x < width; ++x) {
      const float px = std::min(std::max(x0 + ax * static_cast<float>(x), 0.f), top_x);
      const float py = std::min(std::max(y0 + ay * static_cast<float>(x), 0.f), top_y);
      const int ix = static_cast<int>(px), iy = static_cast<int>(py);
      const float fx = px - static_cast<float>(ix), fy = py - static_cast<float>(iy);
      const float* p = base + iy * stride + ix;
      const float above = p[0] + fx * (p[1] - p[0]);
      const float below = p[stride] + fx * (p[stride + 1] - p[stride]);
      to[x] = above + fy * (below - above);
    }
  }
  return out;
}

ImageU8 warp_nearest(const ImageU8& mask, const Affine& a) {
  ImageU8 out(mask.height, mask.width, 1);
  for (int y = 0; y < mask.height; ++y) {
    const double x0 = a.bx * y + a.cx + 0.5, y0 = a.by * y + a.cy + 0.5;
    for (int x = 0; x < mask.width; ++x) {
      const double px = x0 + a.ax * x, py = y0 + a.ay * x;
      if (px >= 0 && py >= 0 && px < mask.width && py < mask.height)
        out.at(y, x) = mask.at(static_cast<int>(py), static_cast<int>(px));
    }
  }
  return out;
}

void apply_gamma(Image& image, double gamma) {
  const float g = static_cast<float>(gamma);
  for (float& v : image.pixels) v = v > 0.f ? std::pow(v, g) : 0.f;
}

// Separable Gaussian, mirrored at the border without repeating the edge pixel.
void apply_blur(Image& image, double sigma, int kernel) {
  const int radius = kernel / 2;
  std::vector<double> weights(static_cast<size_t>(kernel));
  double sum = 0;
  for (int i = 0; i < kernel; ++i)
    sum += weights[i] = std::exp(-0.5 * (i - radius) * (i - radius) / (sigma * sigma));
  std::vector<float> w(weights.size());
  for (int i = 0; i < kernel; ++i) w[i] = static_cast<float>(weights[i] / sum);
  const auto mirror = [](int i, int n) {
    if (n == 1) return 0;
    const int period = 2 * (n - 1);
    i = ((i % period) + period) % period;
    return i < n ? i : period - i;
  };
  const int height = image.height, width = image.width;
  Image across(height, width, 1);
  std::vector<float> row(static_cast<size_t>(width) + 2 * radius);
  for (int y = 0; y < height; ++y) {
    for (int x = -radius; x < width + radius; ++x) row[x + radius] = image.row(y)[mirror(x, width)];
    float* to = across.row(y);
    for (int k = 0; k < kernel; ++k) {
      const float* from = row.data() + k;
      for (int x = 0; x < width; ++x) to[x] += w[k] * from[x];
    }
  }
  for (int y = 0; y < height; ++y) {
    float* to = image.row(y);
    std::fill(to, to + width, 0.f);
    for (int k = 0; k < kernel; ++k) {
      const float* from = across.row(mirror(y + k - radius, height));
      for (int x = 0; x < width; ++x) to[x] += w[k] * from[x];
    }
  }
}

// One 32-bit word a pixel: below the threshold it is noise, and its lowest bit chooses salt or
// pepper.
void apply_salt_pepper(Image& image, double amount, const AugmentDraw& d) {
  const auto threshold = static_cast<uint64_t>(amount * 4294967296.0);
  const size_t n = image.pixels.size();
  for (size_t i = 0; i < n; i += 4) {
    const auto words = philox4x32(d.seed, d.stream, i / 4);
    for (size_t k = 0; k < 4 && i + k < n; ++k)
      if (words[k] < threshold) image.pixels[i + k] = (words[k] & 1) ? 1.f : 0.f;
  }
}

// Box-Muller with both of its values used: four words make four normals.
void apply_noise(Image& image, double sigma, const AugmentDraw& d) {
  const size_t n = image.pixels.size();
  const uint64_t stream = d.stream + 1;
  const float s = static_cast<float>(sigma);
  for (size_t i = 0; i < n; i += 4) {
    const auto words = philox4x32(d.seed, stream, i / 4);
    float normal[4];
    for (int k = 0; k < 4; k += 2) {
      const float u = 1.f - unit_float(words[k]);  // (0, 1]
      const float angle = 6.2831853f * unit_float(words[k + 1]);
      const float r = std::sqrt(-2.f * std::log(u));
      normal[k] = r * std::cos(angle);
      normal[k + 1] = r * std::sin(angle);
    }
    for (size_t k = 0; k < 4 && i + k < n; ++k) image.pixels[i + k] += s * normal[k];
  }
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

void apply_augment(const AugmentConfig& c, const AugmentDraw& d, Image& image, ImageU8* mask) {
  THORAX_CHECK(image.channels == 1 && image.height > 0 && image.width > 0,
               "[augment] image {}x{}x{}: one channel is wanted", image.height, image.width,
               image.channels);
  THORAX_CHECK(
      !mask || (mask->height == image.height && mask->width == image.width && mask->channels == 1),
      "[augment] mask {}x{}x{} does not fit image {}x{}", mask->height, mask->width, mask->channels,
      image.height, image.width);
  if (d.scale_x != 1 || d.rotate != 0 || d.shear_x != 0 || d.flip_x) {
    const Affine map = inverse_map(d, image.height, image.width);
    image = warp(image, map);
    if (mask) *mask = warp_nearest(*mask, map);
  }
  if (d.gamma != 1) apply_gamma(image, d.gamma);
  if (d.salt_pepper) apply_salt_pepper(image, c.salt_pepper_amount, d);
  if (d.blur) apply_blur(image, c.blur_sigma, c.blur_kernel);
  if (d.noise) apply_noise(image, c.noise_percent / 100.0, d);
  for (float& v : image.pixels) v = std::min(std::max(v, 0.f), 1.f);
}

void augment(const AugmentConfig& config, uint64_t seed, int64_t epoch, int64_t index, Image& image,
             ImageU8* mask) {
  apply_augment(config, draw_augment(config, seed, epoch, index), image, mask);
}

}  // namespace thorax
