// A batch augmented by every provider against data/augment, an image at a time.
#include <doctest/doctest.h>

#include "data/augment.h"
#include "tests/support/device.h"

using namespace thorax;

namespace {

// Smooth brightness with an edge, and the edge as mask.
void make_pair(int height, int width, Image& image, ImageU8& mask) {
  image = Image(height, width, 1);
  mask = ImageU8(height, width, 1);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const bool on = 3 * x + y > height && y > 3;
      mask.at(y, x) = on ? static_cast<std::uint8_t>(100 + (x + y) % 7) : 0;
      image.at(y, x) = (on ? 0.5f : 0.0f) + 0.4f * static_cast<float>(x * y % 11) / 11.0f;
    }
}

struct Made {
  Tensor images, masks;       // what goes in
  std::vector<Image> wanted;  // what data/augment makes of it
  std::vector<ImageU8> wanted_masks;
  std::vector<AugmentImage> drawn;
  std::vector<AugmentDraw> draws;
};

Made make(const AugmentConfig& config, const std::vector<AugmentDraw>& draws, int height,
          int width) {
  Made m;
  m.draws = draws;
  const auto count = static_cast<std::int64_t>(draws.size());
  m.images = Tensor::empty({count, height, width, 1});
  m.masks = Tensor::empty({count, height, width, 1}, DType::u8);
  const std::size_t pixels = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  for (std::size_t n = 0; n < draws.size(); ++n) {
    Image image;
    ImageU8 mask;
    make_pair(height, width, image, mask);
    std::copy(image.pixels.begin(), image.pixels.end(), m.images.data<float>() + n * pixels);
    std::copy(mask.pixels.begin(), mask.pixels.end(), m.masks.data<std::uint8_t>() + n * pixels);
    m.drawn.push_back(augment_numbers(config, draws[n], height, width));
    apply_augment(config, draws[n], image, &mask);
    m.wanted.push_back(image);
    m.wanted_masks.push_back(mask);
  }
  return m;
}

// How far a device may be from the CPU. The warp and the blur's weights go through the same fused
// operations and so are equal. pow, log, cos and sin of a device's library differ by a few units of
// the last place: a power by 16 of them (of values up to 1); a normal, at most 5.9, by 16 of its
// own; a blur averages what it is given and rounds `kernel` times twice.
double bound(const AugmentConfig& config, const AugmentDraw& d) {
  constexpr double kRounding = 0x1p-24;
  double result = d.gamma != 1 ? 16 * kRounding : 0;
  if (d.blur && result > 0) result += 2 * config.blur_kernel * kRounding;
  if (d.noise) result += 16 * kRounding * 5.9 * config.noise_percent / 100 + kRounding;
  return result;
}

void check(const AugmentConfig& config, const Made& m) {
  for (const AugmentProvider& provider : augment_providers().all()) {
    CAPTURE(provider.name);
    const ProviderScope scope("augment", provider.name);
    const auto [images, masks] =
        augment_batch(m.drawn, test::on(provider.device, m.images),
                      test::on(provider.device, m.masks), config.blur_sigma, config.blur_kernel);
    const Tensor got = images.to(Device{}), got_masks = masks.to(Device{});
    for (std::size_t n = 0; n < m.wanted.size(); ++n) {
      CAPTURE(n);
      const auto at = static_cast<std::int64_t>(n);
      const Tensor wanted = Tensor::from(m.wanted[n].pixels, got.batch_slice(at, 1).shape());
      const double allowed = provider.device == DeviceKind::cpu ? 0 : bound(config, m.draws[n]);
      const auto difference =
          test::difference(got.batch_slice(at, 1), wanted, allowed > 0 ? allowed : 1e-300);
      CAPTURE(difference.where);
      CHECK(difference.worst <= 1);
      CHECK(test::same_values(
          got_masks.batch_slice(at, 1),
          Tensor::from(m.wanted_masks[n].pixels, got_masks.batch_slice(at, 1).shape())));
    }
  }
}

}  // namespace

TEST_CASE("a batch is augmented as its images are one by one: each process alone") {
  AugmentConfig config;
  config.salt_pepper_amount = 0.1;
  config.noise_percent = 5;
  config.blur_kernel = 5;
  config.blur_sigma = 1.2;
  std::vector<AugmentDraw> draws(12);
  draws[1].rotate = 90;  // exact: nearest neighbours lie on the border between two pixels
  draws[2].rotate = -13;
  draws[3].scale_x = 0.5;
  draws[4].shear_x = 0.3;
  draws[5].flip_x = true;
  draws[6].gamma = 0.6;
  draws[7].gamma = 1.7;
  draws[8].salt_pepper = true;
  draws[9].blur = true;
  draws[10].noise = true;
  draws[11].rotate = 180;
  for (std::size_t n = 0; n < draws.size(); ++n) {
    draws[n].seed = 5;
    draws[n].stream = 100 + 4 * n;
  }
  // Widths that leave groups of four pixels across rows; one pixel; a row; narrower than the blur.
  for (const auto& [height, width] :
       {std::pair{33, 35}, {32, 64}, {1, 1}, {1, 9}, {9, 1}, {2, 3}, {40, 40}})
    check(config, make(config, draws, height, width));
}

TEST_CASE("a batch drawn from the study's recipe, any order of threads") {
  const AugmentConfig config = augment_preset("study");
  std::vector<AugmentDraw> draws;
  for (int n = 0; n < 8; ++n) draws.push_back(draw_augment(config, 3, 1, n));
  const Made m = make(config, draws, 48, 50);
  test::in_every_thread_order([&] { check(config, m); });
}

TEST_CASE("a batch without masks, an empty one, and what does not fit") {
  const Device device{DeviceKind::sim, 0};
  const AugmentedBatch none =
      augment_batch(std::vector<AugmentImage>(2),
                    Tensor::full({2, 4, 5, 1}, 0.5, DType::f32, device), {}, 0.5, 11);
  CHECK_FALSE(none.masks.defined());
  CHECK(test::same_values(none.images.to(Device{}), Tensor::full({2, 4, 5, 1}, 0.5)));
  CHECK(augment_batch({}, Tensor::zeros({0, 4, 5, 1}, DType::f32, device), {}, 0.5, 11)
            .images.numel() == 0);
  const std::vector<AugmentImage> one(1);
  CHECK_THROWS_WITH_AS(augment_batch(one, Tensor::zeros({1, 4, 5, 3}), {}, 0.5, 11),
                       doctest::Contains("got 1x4x5x3 f32"), Error);
  CHECK_THROWS_WITH_AS(augment_batch(one, Tensor::zeros({2, 4, 5, 1}), {}, 0.5, 11),
                       doctest::Contains("1 draws for images 2x4x5x1"), Error);
  CHECK_THROWS_WITH_AS(
      augment_batch(one, Tensor::zeros({1, 4, 5, 1}), Tensor::zeros({1, 4, 5, 1}), 0.5, 11),
      doctest::Contains("must be u8"), Error);
  CHECK_THROWS_WITH_AS(augment_batch(one, Tensor::zeros({1, 4, 5, 1}), {}, 0.5, 10),
                       doctest::Contains("the other odd"), Error);
}
