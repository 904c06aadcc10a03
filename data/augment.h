// Augmentation of one image and its mask: the study's Table 3 (scale x, rotate, shear x, pad,
// centre crop; gamma, salt-and-pepper, blur, noise). All randomness comes from (seed, epoch,
// index): the order in which images are read and the number of threads never matter.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "data/image.h"
#include "kernels/augment/augment.h"

namespace thorax {

// Each process has a range its value is drawn from, uniformly, and a probability of being applied.
// The geometry is one affine map about the image's centre, applied in the order scale, rotate,
// shear; what it brings in from outside of the image is black (the study's padding), and the centre
// crop gives the input's size back.
struct AugmentConfig {
  double scale_x_min = 1, scale_x_max = 1, scale_x_probability = 0;
  double rotate_min = 0, rotate_max = 0,
         rotate_probability = 0;  // degrees, positive turns clockwise
  double shear_x_min = 0, shear_x_max = 0, shear_x_probability = 0;  // x += shear * y
  double flip_x_probability = 0;  // mirror left and right: not in the study (the heart lies left)
  double gamma_min = 1, gamma_max = 1, gamma_probability = 0;  // pixel -> pixel^gamma
  double salt_pepper_amount = 0, salt_pepper_probability = 0;  // share of pixels set to 0 or 1
  double blur_sigma = 0.5;                                     // pixels
  int blur_kernel = 11;                                        // odd
  double blur_probability = 0;
  // The study gives "random noise 0.5" without a unit. Read here as additive Gaussian noise whose
  // standard deviation is 0.5 percent of the range 0..1.
  double noise_percent = 0, noise_probability = 0;

  bool any() const;
};

// "study" (Table 3), "light" (small geometry and brightness changes), "none".
AugmentConfig augment_preset(const std::string& name);

// Unknown keys, wrong types, empty ranges, probabilities outside 0..1: Error naming the key. Keys
// that are missing keep the value of `base`. A JSON string is a preset name.
AugmentConfig augment_from_json(const nlohmann::json& json, const AugmentConfig& base = {});
nlohmann::json augment_to_json(const AugmentConfig& config);

// What one draw decided; the same for image and mask.
struct AugmentDraw {
  double scale_x = 1, rotate = 0, shear_x = 0;
  bool flip_x = false;
  double gamma = 1;
  bool salt_pepper = false, blur = false, noise = false;
  uint64_t seed = 0, stream = 0;  // of the per-pixel noise
};
AugmentDraw draw_augment(const AugmentConfig& config, uint64_t seed, int64_t epoch, int64_t index);

// The numbers kernels/augment wants for an image of this size: the same whether it is augmented
// here, or in a batch on a GPU (augment_batch with the configuration's blur_sigma and blur_kernel).
AugmentImage augment_numbers(const AugmentConfig& config, const AugmentDraw& draw, int height,
                             int width);

// Applies a draw to a one-channel image (0..1 in, 0..1 out; bilinear) and, unless null, its mask
// (nearest, values kept). Sizes stay.
void apply_augment(const AugmentConfig& config, const AugmentDraw& draw, Image& image,
                   ImageU8* mask);

// Both steps.
void augment(const AugmentConfig& config, uint64_t seed, int64_t epoch, int64_t index, Image& image,
             ImageU8* mask);

}  // namespace thorax
