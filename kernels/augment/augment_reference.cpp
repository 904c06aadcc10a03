// The definition, an image at a time; it is also what the loader runs for every image it reads, so
// the loops are kept free of branches.
#include <algorithm>
#include <cstring>

#include "engine/runtime/parallel.h"
#include "kernels/augment/augment.h"
#include "kernels/augment/augment_math.h"

namespace thorax {
namespace {

using namespace augment_math;

// Bilinear; outside is 0. The image gets a border of one black pixel, so that every read position
// clamped to that border blends correctly and the loop needs no branches.
void warp(float* image, int height, int width, const AffineMap& a) {
  const int stride = width + 3;
  std::vector<float> padded(static_cast<std::size_t>(height + 3) * static_cast<std::size_t>(stride),
                            0.0f);
  for (int y = 0; y < height; ++y)
    std::copy_n(image + static_cast<std::int64_t>(y) * width, width,
                padded.data() + static_cast<std::int64_t>(y + 1) * stride + 1);
  const float ax = static_cast<float>(a.ax), ay = static_cast<float>(a.ay);
  const float top_x = static_cast<float>(width + 1), top_y = static_cast<float>(height + 1);
  const float* base = padded.data();
  for (int y = 0; y < height; ++y) {
    float* to = image + static_cast<std::int64_t>(y) * width;
    const RowStart start = row_start(a, y, 1);
    const float x0 = static_cast<float>(start.x), y0 = static_cast<float>(start.y);
    for (int x = 0; x < width; ++x) {
      const float px = std::min(std::max(fmaf(ax, static_cast<float>(x), x0), 0.0f), top_x);
      const float py = std::min(std::max(fmaf(ay, static_cast<float>(x), y0), 0.0f), top_y);
      const int ix = static_cast<int>(px), iy = static_cast<int>(py);
      const float fx = px - static_cast<float>(ix), fy = py - static_cast<float>(iy);
      const float* p = base + iy * stride + ix;
      to[x] = blend(blend(p[0], p[1], fx), blend(p[stride], p[stride + 1], fx), fy);
    }
  }
}

void warp_nearest(std::uint8_t* mask, int height, int width, const AffineMap& a) {
  const std::vector<std::uint8_t> from(mask, mask + static_cast<std::int64_t>(height) * width);
  for (int y = 0; y < height; ++y) {
    const RowStart start = row_start(a, y, 0.5);
    for (int x = 0; x < width; ++x) {
      const double px = fma(a.ax, static_cast<double>(x), start.x),
                   py = fma(a.ay, static_cast<double>(x), start.y);
      const bool inside = px >= 0 && py >= 0 && px < width && py < height;
      mask[static_cast<std::int64_t>(y) * width + x] =
          inside ? from[static_cast<std::size_t>(static_cast<int>(py)) *
                            static_cast<std::size_t>(width) +
                        static_cast<std::size_t>(static_cast<int>(px))]
                 : 0;
    }
  }
}

// Separable.
void blur(float* image, int height, int width, const std::vector<float>& w) {
  const int kernel = static_cast<int>(w.size()), radius = kernel / 2;
  std::vector<float> across(static_cast<std::size_t>(height) * static_cast<std::size_t>(width));
  std::vector<float> row(static_cast<std::size_t>(width + 2 * radius));
  const auto add = [&](float* to, const float* from, float weight) {
    for (int x = 0; x < width; ++x) to[x] = fmaf(weight, from[x], to[x]);
  };
  for (int y = 0; y < height; ++y) {
    const float* from = image + static_cast<std::int64_t>(y) * width;
    for (int x = -radius; x < width + radius; ++x)
      row[static_cast<std::size_t>(x + radius)] = from[mirrored(x, width)];
    for (int k = 0; k < kernel; ++k)
      add(across.data() + static_cast<std::int64_t>(y) * width, row.data() + k,
          w[static_cast<std::size_t>(k)]);
  }
  for (int y = 0; y < height; ++y) {
    float* to = image + static_cast<std::int64_t>(y) * width;
    std::fill_n(to, width, 0.0f);
    for (int k = 0; k < kernel; ++k)
      add(to, across.data() + static_cast<std::int64_t>(mirrored(y + k - radius, height)) * width,
          w[static_cast<std::size_t>(k)]);
  }
}

void run(const AugmentProblem& p, std::span<const AugmentImage> drawn, const Tensor& images,
         const Tensor& masks, const Tensor& out_images, const Tensor& out_masks) {
  out_images.copy_from(images);
  if (masks.defined()) out_masks.copy_from(masks);
  const std::int64_t pixels = p.height * p.width;
  parallel_for(0, p.images, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t n = first; n < last; ++n)
      augment_image(p, drawn[static_cast<std::size_t>(n)], out_images.data<float>() + n * pixels,
                    masks.defined() ? out_masks.data<std::uint8_t>() + n * pixels : nullptr);
  });
}

}  // namespace

void augment_image(const AugmentProblem& p, const AugmentImage& d, float* image,
                   std::uint8_t* mask) {
  const int height = static_cast<int>(p.height), width = static_cast<int>(p.width);
  const std::int64_t n = p.height * p.width;
  if (d.warp) {
    warp(image, height, width, d.map);
    if (mask != nullptr) warp_nearest(mask, height, width, d.map);
  }
  if (d.gamma != 1) {
    const float gamma = static_cast<float>(d.gamma);
    for (std::int64_t i = 0; i < n; ++i) image[i] = with_gamma(image[i], gamma);
  }
  if (d.salt_pepper > 0) {
    const std::uint64_t threshold = salt_pepper_threshold(d.salt_pepper);
    for (std::int64_t i = 0; i < n; i += 4) {
      const auto words = philox4x32(d.seed, d.stream, static_cast<std::uint64_t>(i) / 4);
      for (std::int64_t k = 0; k < 4 && i + k < n; ++k)
        image[i + k] =
            with_salt_pepper(image[i + k], words[static_cast<std::size_t>(k)], threshold);
    }
  }
  if (d.blur) blur(image, height, width, blur_weights(p.blur_sigma, p.blur_kernel));
  if (d.noise > 0) {
    const float sigma = static_cast<float>(d.noise);
    for (std::int64_t i = 0; i < n; i += 4) {
      const auto words = philox4x32(d.seed, d.stream + 1, static_cast<std::uint64_t>(i) / 4);
      float normal[4];
      normals(words.data(), normal);
      for (std::int64_t k = 0; k < 4 && i + k < n; ++k)
        image[i + k] = fmaf(sigma, normal[k], image[i + k]);
    }
  }
  for (std::int64_t i = 0; i < n; ++i) image[i] = std::min(std::max(image[i], 0.0f), 1.0f);
}

THORAX_PROVIDER(augment_reference, augment_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = [](const AugmentProblem&) { return 0; },
                 .run = run});

}  // namespace thorax
