#include "data/augment.h"

#include <chrono>
#include <cmath>
#include <numeric>
#include <thread>

#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;

namespace {

// A bright disc off the centre on a gradient, and the disc as mask.
void make_pair(int size, Image& image, ImageU8& mask) {
  image = Image(size, size, 1);
  mask = ImageU8(size, size, 1);
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x) {
      const double dy = y - 0.55 * size, dx = x - 0.4 * size;
      const bool inside = dy * dy + dx * dx < 0.05 * size * size;
      mask.at(y, x) = inside ? 255 : 0;
      image.at(y, x) = inside ? 0.9f : 0.3f;
    }
}

double mean(const Image& image) {
  return std::accumulate(image.pixels.begin(), image.pixels.end(), 0.0) /
         static_cast<double>(image.pixels.size());
}

AugmentDraw neutral() {
  return {};
}

}  // namespace

TEST_CASE("augment: no process, no change") {
  Image image;
  ImageU8 mask;
  make_pair(40, image, mask);
  const Image before = image;
  const ImageU8 mask_before = mask;
  augment(augment_preset("none"), 1, 2, 3, image, &mask);
  CHECK(image.pixels == before.pixels);
  CHECK(mask.pixels == mask_before.pixels);
  CHECK_FALSE(augment_preset("none").any());
  CHECK(augment_preset("study").any());
}

TEST_CASE("augment: quarter turns are exact") {
  Image image(5, 5, 1);
  std::iota(image.pixels.begin(), image.pixels.end(), 0.f);
  for (float& v : image.pixels) v /= 25.f;
  ImageU8 mask(5, 5, 1);
  mask.at(0, 1) = 255;
  const Image before = image;
  AugmentDraw d = neutral();
  d.rotate = 90;
  apply_augment({}, d, image, &mask);
  // Clockwise: row 0 becomes the last column.
  for (int y = 0; y < 5; ++y)
    for (int x = 0; x < 5; ++x)
      CHECK(image.at(x, 4 - y) == doctest::Approx(before.at(y, x)).epsilon(1e-5));
  CHECK(mask.at(1, 4) == 255);
  CHECK(mask_area(mask) == 1);
}

TEST_CASE("augment: scale and shear move pixels where they should") {
  Image image(101, 101, 1);
  image.at(50, 70) = 1.f;  // 20 right of the centre
  AugmentDraw d = neutral();
  d.scale_x = 0.5;
  ImageU8 mask(101, 101, 1, 255);
  apply_augment({}, d, image, &mask);
  CHECK(image.at(50, 60) == doctest::Approx(1.f));
  // Narrowed to half: the sides are filled from outside.
  CHECK(mask.at(50, 0) == 0);
  CHECK(mask.at(50, 50) == 255);
  CHECK(mask_area(mask) == doctest::Approx(101 * 51).epsilon(0.03));

  Image low(101, 101, 1);
  low.at(90, 50) = 1.f;  // 40 below the centre
  d = neutral();
  d.shear_x = 0.2;
  apply_augment({}, d, low, nullptr);
  CHECK(low.at(90, 58) == doctest::Approx(1.f));
  d = neutral();
  d.flip_x = true;
  apply_augment({}, d, low, nullptr);
  CHECK(low.at(90, 42) == doctest::Approx(1.f));
}

TEST_CASE("augment: image and mask stay together under the study's geometry") {
  AugmentConfig c = augment_preset("study");
  c.gamma_probability = c.salt_pepper_probability = c.blur_probability = c.noise_probability = 0;
  for (int i = 0; i < 30; ++i) {
    Image image;
    ImageU8 mask;
    make_pair(128, image, mask);
    augment(c, 9, 0, i, image, &mask);
    int wrong = 0;
    for (size_t k = 0; k < mask.pixels.size(); ++k)
      wrong += (mask.pixels[k] != 0) != (image.pixels[k] > 0.6f);
    CHECK(mask_area(mask) > 300);
    CHECK(wrong < 40);  // ties on the rim only
  }
}

TEST_CASE("augment: gamma, salt and pepper, blur, noise do what their numbers say") {
  Image image(200, 200, 1, 0.25f);
  AugmentDraw d = neutral();
  d.gamma = 0.5;
  apply_augment({}, d, image, nullptr);
  CHECK(image.at(3, 3) == doctest::Approx(0.5));

  AugmentConfig c = augment_preset("study");
  d = neutral();
  d.seed = 4;
  d.stream = 8;
  d.salt_pepper = true;
  apply_augment(c, d, image, nullptr);
  int salt = 0, pepper = 0;
  for (const float v : image.pixels) salt += v == 1.f, pepper += v == 0.f;
  // 40000 pixels at 1 percent: 400, standard deviation 20; half each.
  CHECK(std::abs(salt + pepper - 400) < 100);
  CHECK(std::abs(salt - pepper) < 100);

  Image point(21, 21, 1);
  point.at(10, 10) = 1.f;
  d = neutral();
  d.blur = true;
  apply_augment(c, d, point, nullptr);
  const double side = std::exp(-2.0);  // exp(-1 / (2 sigma^2)), sigma 0.5
  const double center = 1 / (1 + 2 * side + 2 * std::exp(-8.0));
  CHECK(point.at(10, 10) == doctest::Approx(center * center).epsilon(1e-4));
  CHECK(point.at(10, 11) == doctest::Approx(center * center * side).epsilon(1e-4));
  CHECK(mean(point) * 441 == doctest::Approx(1).epsilon(1e-5));
  Image flat(7, 3, 1, 0.4f);
  apply_augment(c, d, flat, nullptr);
  for (const float v : flat.pixels) CHECK(v == doctest::Approx(0.4f));

  Image gray(300, 300, 1, 0.5f);
  d = neutral();
  d.noise = true;
  apply_augment(c, d, gray, nullptr);
  double square = 0;
  for (const float v : gray.pixels) square += (v - 0.5) * (v - 0.5);
  CHECK(std::sqrt(square / 90000) == doctest::Approx(0.005).epsilon(0.02));
  CHECK(mean(gray) == doctest::Approx(0.5).epsilon(0.001));
}

TEST_CASE("augment: draws fill the ranges of Table 3 and depend on seed, epoch and index only") {
  const AugmentConfig c = augment_preset("study");
  int sheared = 0, salted = 0, blurred = 0, noisy = 0;
  double low_angle = 90, high_angle = -90, low_gamma = 9, high_gamma = 0, low_scale = 9,
         high_scale = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    const AugmentDraw d = draw_augment(c, 3, i / 100, i % 100);
    sheared += d.shear_x != 0, salted += d.salt_pepper, blurred += d.blur, noisy += d.noise;
    CHECK(std::abs(d.shear_x) <= 0.2);
    CHECK_FALSE(d.flip_x);
    low_angle = std::min(low_angle, d.rotate), high_angle = std::max(high_angle, d.rotate);
    low_gamma = std::min(low_gamma, d.gamma), high_gamma = std::max(high_gamma, d.gamma);
    low_scale = std::min(low_scale, d.scale_x), high_scale = std::max(high_scale, d.scale_x);
  }
  // Four standard deviations of a binomial of 4000.
  CHECK(std::abs(sheared - 0.7 * kDraws) < 116);
  CHECK(std::abs(salted - 0.3 * kDraws) < 116);
  CHECK(std::abs(blurred - 0.5 * kDraws) < 127);
  CHECK(std::abs(noisy - 0.3 * kDraws) < 116);
  CHECK((low_angle >= -45 && low_angle < -44 && high_angle <= 45 && high_angle > 44));
  CHECK((low_gamma >= 0.5 && low_gamma < 0.55 && high_gamma <= 3 && high_gamma > 2.9));
  CHECK((low_scale >= 0.8 && low_scale < 0.81 && high_scale <= 1.1 && high_scale > 1.09));

  Image first;
  ImageU8 mask;
  make_pair(64, first, mask);
  const Image original = first;
  augment(c, 7, 5, 11, first, nullptr);
  for (const auto& [seed, epoch, index, same] :
       {std::tuple{7, 5, 11, true}, {8, 5, 11, false}, {7, 6, 11, false}, {7, 5, 12, false}}) {
    Image other = original;
    std::thread([&, s = seed, e = epoch, i = index] {
      augment(c, static_cast<uint64_t>(s), e, i, other, nullptr);
    }).join();
    CHECK((other.pixels == first.pixels) == same);
  }
}

TEST_CASE("augment: results stay in 0..1 for any size") {
  for (const auto& [h, w] : {std::pair{1, 1}, {1, 9}, {9, 1}, {3, 200}, {64, 65}})
    for (int i = 0; i < 20; ++i) {
      Image image(h, w, 1, 0.99f);
      ImageU8 mask(h, w, 1, 255);
      augment(augment_preset("study"), 1, 0, i, image, &mask);
      for (const float v : image.pixels) CHECK((v >= 0.f && v <= 1.f));
      for (const uint8_t v : mask.pixels) CHECK((v == 0 || v == 255));
    }
  Image color(4, 4, 3);
  CHECK_ERROR(augment({}, 0, 0, 0, color, nullptr), "image 4x4x3: one channel is wanted");
  Image gray(4, 4, 1);
  ImageU8 mask(4, 5, 1);
  CHECK_ERROR(augment({}, 0, 0, 0, gray, &mask), "mask 4x5x1 does not fit image 4x4");
}

TEST_CASE("augment: JSON round trip, presets, refused settings") {
  const AugmentConfig study = augment_preset("study");
  CHECK(augment_to_json(augment_from_json(augment_to_json(study))) == augment_to_json(study));
  CHECK(augment_to_json(augment_from_json("light")) == augment_to_json(augment_preset("light")));
  const AugmentConfig some = augment_from_json({{"preset", "study"}, {"gamma_max", 2.0}});
  CHECK(some.gamma_max == 2.0);
  CHECK(some.rotate_max == 45);
  CHECK_ERROR(augment_preset("heavy"), "'heavy' is no preset");
  CHECK_ERROR(augment_from_json({{"gama_max", 2.0}}), "unknown setting 'gama_max'");
  CHECK_ERROR(augment_from_json({{"gamma_max", "two"}}), "gamma_max is not a number");
  CHECK_ERROR(augment_from_json({{"gamma_min", 2.0}}), "gamma_min..gamma_max = 2..1");
  CHECK_ERROR(augment_from_json({{"noise_probability", 1.5}}),
              "noise_probability = 1.5 is not in 0..1");
  CHECK_ERROR(augment_from_json({{"blur_kernel", 4}}), "blur_kernel = 4 is not odd");
  CHECK_ERROR(augment_from_json({{"scale_x_min", 0.0}}), "scale_x_min..scale_x_max");
  CHECK_ERROR(augment_from_json(nlohmann::json::array()), "an object of settings");
}

TEST_CASE("augment: time for 512 x 512") {
  const AugmentConfig c = augment_preset("study");
  Image image;
  ImageU8 mask;
  make_pair(512, image, mask);
  double best = 1e9, total = 0;
  constexpr int kRounds = 20;
  for (int i = 0; i < kRounds; ++i) {
    Image copy = image;
    ImageU8 mask_copy = mask;
    const auto begin = std::chrono::steady_clock::now();
    augment(c, 1, 0, i, copy, &mask_copy);
    const double ms =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    best = std::min(best, ms);
    total += ms;
  }
  MESSAGE("augment 512x512 with mask: mean " << total / kRounds << " ms, least " << best << " ms");
  CHECK(best > 0);
}
