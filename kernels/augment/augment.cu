// Augmentation of a batch: at most three passes over the images, one over the masks.
//
// A thread makes four consecutive pixels, which share one block of random words. The first pass
// does everything that looks at one output pixel at a time: it reads the warped position (four
// taps, the texture-like access that caches serve), applies gamma and salt and pepper and, for an
// image that is not blurred, the noise. Two more passes, along rows and along columns, blur the
// others; the second one adds their noise. All numbers per image travel in one small upload.
#include "kernels/augment/augment.h"

#include "kernels/augment/augment_math.h"
#include "kernels/common/elementwise.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

using namespace augment_math;

// What the kernels need of an AugmentImage, rounded as the CPU rounds it.
struct Drawn {
  AffineMap map;
  std::uint64_t seed, stream, threshold;
  float gamma, noise;
  bool warp, with_gamma, blur;
};

// The four pixels of a thread: groups of the images' own, the last of an image may be cut.
struct Four {
  std::int64_t image, first;  // first: within the image
  int count;
};
__device__ Four four_pixels(std::int64_t pixels, std::int64_t groups) {
  const std::int64_t i = thread_index(), image = i / groups, first = i % groups * 4;
  return {image, first, pixels - first < 4 ? static_cast<int>(pixels - first) : 4};
}

__device__ float pixel_or_0(const float* image, int y, int x, int height, int width) {
  return y >= 0 && y < height && x >= 0 && x < width
             ? image[static_cast<std::int64_t>(y) * width + x]
             : 0.0f;
}

// Bilinear at the input position of output pixel (x, y), in coordinates that count a black border
// of one pixel.
__device__ float warped(const float* image, const AffineMap& a, int y, int x, int height,
                        int width) {
  const RowStart start = row_start(a, y, 1);
  const float own = static_cast<float>(x);
  const float px =
      fminf(fmaxf(fmaf(static_cast<float>(a.ax), own, static_cast<float>(start.x)), 0.0f),
            static_cast<float>(width + 1));
  const float py =
      fminf(fmaxf(fmaf(static_cast<float>(a.ay), own, static_cast<float>(start.y)), 0.0f),
            static_cast<float>(height + 1));
  const int ix = static_cast<int>(px), iy = static_cast<int>(py);
  const float fx = px - static_cast<float>(ix), fy = py - static_cast<float>(iy);
  const auto at = [&](int down, int right) {
    return pixel_or_0(image, iy - 1 + down, ix - 1 + right, height, width);
  };
  return blend(blend(at(0, 0), at(0, 1), fx), blend(at(1, 0), at(1, 1), fx), fy);
}

// Noise and the final range, for four pixels.
__device__ void finish(const Drawn& d, std::int64_t first, float (&values)[4]) {
  if (d.noise > 0.0f) {
    const auto words = philox4x32(d.seed, d.stream + 1, static_cast<std::uint64_t>(first) / 4);
    const std::uint32_t own[4] = {words[0], words[1], words[2], words[3]};
    float normal[4];
    normals(own, normal);
    for (int k = 0; k < 4; ++k) values[k] = fmaf(d.noise, normal[k], values[k]);
  }
  // Not fminf and fmaxf, which would drop a NaN.
  for (int k = 0; k < 4; ++k)
    values[k] = values[k] < 0.0f ? 0.0f : values[k] > 1.0f ? 1.0f : values[k];
}

__global__ void points(const Drawn* drawn, const float* images, float* out, std::int64_t count,
                       int height, int width, std::int64_t groups) {
  const std::int64_t pixels = static_cast<std::int64_t>(height) * width;
  const Four four = four_pixels(pixels, groups);
  if (four.image >= count) return;
  const Drawn d = drawn[four.image];
  const float* image = images + four.image * pixels;
  float values[4] = {0, 0, 0, 0};
  for (int k = 0; k < 4; ++k) {
    if (k >= four.count) break;
    const int i = static_cast<int>(four.first) + k;
    values[k] = d.warp ? warped(image, d.map, i / width, i % width, height, width) : image[i];
    if (d.with_gamma) values[k] = with_gamma(values[k], d.gamma);
  }
  if (d.threshold > 0) {
    const auto words = philox4x32(d.seed, d.stream, static_cast<std::uint64_t>(four.first) / 4);
    for (int k = 0; k < 4; ++k) values[k] = with_salt_pepper(values[k], words[k], d.threshold);
  }
  if (!d.blur) finish(d, four.first, values);
  for (int k = 0; k < 4; ++k)
    if (k < four.count) out[four.image * pixels + four.first + k] = values[k];
}

// Along a row (kDown = false) of every blurred image, or along a column, which finishes it.
template <bool kDown>
__global__ void blur(const Drawn* drawn, const float* weights, int kernel, const float* from,
                     float* to, std::int64_t count, int height, int width, std::int64_t groups) {
  const std::int64_t pixels = static_cast<std::int64_t>(height) * width;
  const Four four = four_pixels(pixels, groups);
  if (four.image >= count) return;
  const Drawn& d = drawn[four.image];
  if (!d.blur) return;
  const float* image = from + four.image * pixels;
  float values[4] = {0, 0, 0, 0};
  for (int j = 0; j < 4; ++j) {
    if (j >= four.count) break;
    const int i = static_cast<int>(four.first) + j, y = i / width, x = i % width;
    float sum = 0;
    for (int k = 0; k < kernel; ++k) {
      const int row = kDown ? mirrored(y + k - kernel / 2, height) : y;
      const int column = kDown ? x : mirrored(x + k - kernel / 2, width);
      sum = fmaf(weights[k], image[static_cast<std::int64_t>(row) * width + column], sum);
    }
    values[j] = sum;
  }
  if (kDown) finish(d, four.first, values);
  for (int k = 0; k < 4; ++k)
    if (k < four.count) to[four.image * pixels + four.first + k] = values[k];
}

__global__ void warp_masks(const Drawn* drawn, const std::uint8_t* masks, std::uint8_t* out,
                           std::int64_t count, int height, int width) {
  const std::int64_t pixels = static_cast<std::int64_t>(height) * width;
  const std::int64_t i = thread_index(), n = i / pixels;
  if (n >= count) return;
  std::uint8_t value = 0;
  if (drawn[n].warp) {
    const AffineMap& a = drawn[n].map;
    const int own = static_cast<int>(i % pixels), y = own / width, x = own % width;
    const RowStart start = row_start(a, y, 0.5);
    const double px = fma(a.ax, static_cast<double>(x), start.x),
                 py = fma(a.ay, static_cast<double>(x), start.y);
    if (px >= 0 && py >= 0 && px < width && py < height)
      value = masks[n * pixels + static_cast<std::int64_t>(py) * width + static_cast<int>(px)];
  } else {
    value = masks[i];
  }
  out[i] = value;
}

// Bytes on the device.
Tensor upload(const void* values, std::size_t bytes, Device device) {
  const Tensor there = Tensor::empty({static_cast<std::int64_t>(bytes)}, DType::u8, device);
  copy_bytes(there.raw(), device, values, Device{}, bytes);
  return there;
}

void run(const AugmentProblem& p, std::span<const AugmentImage> images_drawn, const Tensor& images,
         const Tensor& masks, const Tensor& out_images, const Tensor& out_masks) {
  const Device device = images.device();
  std::vector<Drawn> drawn;
  bool any_blur = false;
  for (const AugmentImage& d : images_drawn) {
    drawn.push_back({.map = d.map,
                     .seed = d.seed,
                     .stream = d.stream,
                     .threshold = salt_pepper_threshold(d.salt_pepper),
                     .gamma = static_cast<float>(d.gamma),
                     .noise = static_cast<float>(d.noise),
                     .warp = d.warp,
                     .with_gamma = d.gamma != 1,
                     .blur = d.blur});
    any_blur = any_blur || d.blur;
  }
  const Tensor table = upload(drawn.data(), drawn.size() * sizeof(Drawn), device);
  const auto* rows = static_cast<const Drawn*>(table.raw());
  const int height = static_cast<int>(p.height), width = static_cast<int>(p.width);
  const std::int64_t pixels = p.height * p.width, groups = (pixels + 3) / 4;
  const LaunchConfig by_four = one_thread_each(p.images * groups);
  float* out = out_images.device_data<float>();
  launch(THORAX_KERNEL(points), device, by_four, rows, images.device_data<float>(), out, p.images,
         height, width, groups);
  if (any_blur) {
    const std::vector<float> w = blur_weights(p.blur_sigma, p.blur_kernel);
    const Tensor weights = upload(w.data(), w.size() * sizeof(float), device);
    const auto* weight = static_cast<const float*>(weights.raw());
    const Tensor across = Tensor::empty(p.shape(), DType::f32, device);
    launch(THORAX_KERNEL(blur<false>), device, by_four, rows, weight, p.blur_kernel, out,
           across.device_data<float>(), p.images, height, width, groups);
    launch(THORAX_KERNEL(blur<true>), device, by_four, rows, weight, p.blur_kernel,
           across.device_data<float>(), out, p.images, height, width, groups);
  }
  if (masks.defined())
    launch(THORAX_KERNEL(warp_masks), device, one_thread_each(p.images * pixels), rows,
           masks.device_data<std::uint8_t>(), out_masks.device_data<std::uint8_t>(), p.images,
           height, width);
}

}  // namespace

THORAX_PROVIDER(augment_gpu, augment_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority = [](const AugmentProblem&) { return 10; },
                 .run = run});

}  // namespace THORAX_GPU
}  // namespace thorax
