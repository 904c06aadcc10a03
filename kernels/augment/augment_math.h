// The arithmetic of a pixel, the same on the CPU and in CUDA kernels. Products that are added go
// through fma by name: left to the compilers, one would round where the other does not, and a
// nearest neighbour could change.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/runtime/philox.h"
#include "engine/tensor/half.h"
#include "kernels/augment/augment.h"

namespace thorax::augment_math {

// Index `i` of a row of `n`, mirrored at its ends without repeating the end pixels.
constexpr int mirrored(int i, int n) {
  if (n == 1) return 0;
  const int period = 2 * (n - 1);
  i = ((i % period) + period) % period;
  return i < n ? i : period - i;
}

// Weights of the Gaussian, `kernel` of them, their sum 1.
inline std::vector<float> blur_weights(double sigma, int kernel) {
  const int radius = kernel / 2;
  std::vector<double> weights(static_cast<std::size_t>(kernel));
  double sum = 0;
  for (int i = 0; i < kernel; ++i)
    sum += weights[static_cast<std::size_t>(i)] =
        std::exp(-0.5 * (i - radius) * (i - radius) / (sigma * sigma));
  std::vector<float> result;
  for (const double w : weights) result.push_back(static_cast<float>(w / sum));
  return result;
}

// Where row `y` starts in the input, moved by `shift` (the width of a border, or half a pixel).
struct RowStart {
  double x, y;
};
THORAX_HOST_DEVICE inline RowStart row_start(const AffineMap& a, int y, double shift) {
  return {fma(a.bx, static_cast<double>(y), a.cx) + shift,
          fma(a.by, static_cast<double>(y), a.cy) + shift};
}

// Linear interpolation from a to b.
THORAX_HOST_DEVICE inline float blend(float a, float b, float t) {
  return fmaf(t, b - a, a);
}

THORAX_HOST_DEVICE inline float with_gamma(float v, float gamma) {
  return v <= 0.0f ? 0.0f : powf(v, gamma);
}

// Words below it are noise; the lowest bit chooses salt or pepper.
inline std::uint64_t salt_pepper_threshold(double share) {
  return static_cast<std::uint64_t>(share * 4294967296.0);
}
THORAX_HOST_DEVICE inline float with_salt_pepper(float v, std::uint32_t word,
                                                 std::uint64_t threshold) {
  return word < threshold ? ((word & 1u) != 0 ? 1.0f : 0.0f) : v;
}

// Box-Muller with both of its values used: four words make four normals.
THORAX_HOST_DEVICE inline void normals(const std::uint32_t* words, float* normal) {
  for (int k = 0; k < 4; k += 2) {
    const float u = 1.0f - unit_float(words[k]);  // (0, 1]
    const float angle = 6.2831853f * unit_float(words[k + 1]);
    const float r = sqrtf(-2.0f * logf(u));
    normal[k] = r * cosf(angle);
    normal[k + 1] = r * sinf(angle);
  }
}

}  // namespace thorax::augment_math
