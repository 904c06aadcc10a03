#include "kernels/morphology/morphology.h"

#include <doctest/doctest.h>

#include "engine/runtime/parallel.h"
#include "tests/support/check.h"
#include "tests/support/device.h"

using namespace thorax;

namespace {

// '#' is foreground; rows separated by spaces.
Tensor picture(const std::vector<std::string>& rows) {
  const Tensor mask = Tensor::empty(
      {1, static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(rows[0].size()), 1},
      DType::u8);
  std::uint8_t* to = mask.data<std::uint8_t>();
  for (const std::string& row : rows)
    for (const char c : row) *to++ = c == '#';
  return mask;
}

// Blobs: a coarse random pattern, enlarged, with some salt and pepper.
Tensor blobs(std::int64_t images, std::int64_t height, std::int64_t width, double density,
             std::uint64_t seed) {
  Philox random(seed);
  const Tensor mask = Tensor::empty({images, height, width, 1}, DType::u8);
  std::vector<bool> coarse(static_cast<std::size_t>(images * (height / 4 + 1) * (width / 4 + 1)));
  for (auto&& cell : coarse) cell = random.uniform() < density;
  std::uint8_t* to = mask.data<std::uint8_t>();
  for (std::int64_t n = 0; n < images; ++n)
    for (std::int64_t r = 0; r < height; ++r)
      for (std::int64_t c = 0; c < width; ++c) {
        const bool on = coarse[static_cast<std::size_t>(
            (n * (height / 4 + 1) + r / 4) * (width / 4 + 1) + c / 4)];
        *to++ = (on != (random.uniform() < 0.05)) ? 200 : 0;
      }
  return mask;
}

const std::vector<Shape> kSizes{{1, 1, 1, 1},  {1, 1, 70, 1},  {1, 70, 1, 1},   {2, 5, 63, 1},
                                {1, 9, 64, 1}, {3, 17, 65, 1}, {1, 40, 129, 1}, {1, 128, 200, 1},
                                {0, 4, 4, 1},  {1, 0, 5, 1},   {2, 3, 0, 1}};

}  // namespace

TEST_CASE("every morphology provider equals the reference") {
  for (const MorphologyProvider& provider : morphology_providers().all()) {
    CAPTURE(provider.name);
    std::uint64_t seed = 1;
    for (const Shape& size : kSizes) {
      for (const double density : {0.2, 0.5, 0.8}) {
        const Tensor mask = blobs(size[0], size[1], size[2], density, ++seed);
        CAPTURE(mask.shape().to_string());
        const auto both = [&](const auto& function) {
          const ProviderScope reference("morphology", "reference");
          const Tensor wanted = function(mask);
          const ProviderScope tested("morphology", provider.name);
          const Tensor there = test::on(provider.device, mask);
          CHECK(test::same_values(function(there).to(Device{}), wanted));
        };
        for (const Structure structure : {Structure::cross, Structure::square}) {
          for (const int iterations : {0, 1, 3, 11}) {
            both([&](const Tensor& m) { return dilate(m, iterations, structure); });
            both([&](const Tensor& m) { return erode(m, iterations, structure); });
            both([&](const Tensor& m) { return close(m, iterations, structure); });
          }
        }
        for (const int connectivity : {4, 8})
          both([&](const Tensor& m) { return connected_components(m, connectivity).labels; });
        both([&](const Tensor& m) { return fill_holes(m); });
        both([&](const Tensor& m) { return keep_largest(m, 2); });
      }
    }
  }
}

TEST_CASE("labels on a device: long winding components, any order of threads and blocks") {
  // A spiral, a comb that joins at its last row, and checkers that only touch at corners.
  const std::int64_t height = 45, width = 100;
  const Tensor mask = Tensor::zeros({4, height, width, 1}, DType::u8);
  const auto at = [&](std::int64_t n, std::int64_t r, std::int64_t c) -> std::uint8_t& {
    return mask.data<std::uint8_t>()[(n * height + r) * width + c];
  };
  for (std::int64_t ring = 0; ring < height / 4; ++ring) {
    const std::int64_t a = 2 * ring, bottom = height - 1 - a, right = width - 1 - a;
    for (std::int64_t c = a; c <= right; ++c) at(0, a, c) = at(0, bottom, c) = 1;
    for (std::int64_t r = a; r <= bottom; ++r) at(0, r, a) = at(0, r, right) = 1;
    at(0, a + 1, a) = 0;      // open the ring,
    at(0, a + 2, a + 1) = 1;  // and lead on to the next
  }
  for (std::int64_t r = 0; r < height; ++r)
    for (std::int64_t c = 0; c < width; ++c) {
      at(1, r, c) = c % 2 == 0 || r == height - 1;
      at(2, r, c) = (r + c) % 2 == 0;
      at(3, r, c) = 1;
    }
  const MorphologyProblem problem{.images = 4, .height = height, .width = width};
  for (const int connectivity : {4, 8}) {
    const Tensor wanted = Tensor::full(problem.shape(), -7, DType::i32);
    morphology_providers().named("reference").label(problem, connectivity, mask, wanted);
    for (const MorphologyProvider& provider : morphology_providers().all()) {
      CAPTURE(provider.name);
      const Tensor there = test::on(provider.device, mask);
      test::in_every_thread_order([&] {
        const Tensor got = test::on(provider.device, Tensor::full(problem.shape(), -7, DType::i32));
        provider.label(problem, connectivity, there, got);
        CHECK(test::same_values(got.to(Device{}), wanted));
      });
    }
  }
}

TEST_CASE("morphology: 1 and 2 threads give the same result") {
  const Tensor mask = blobs(5, 60, 90, 0.5, 3);
  const int before = num_threads();
  set_num_threads(1);
  const Tensor one = close(mask, 3), one_labels = connected_components(mask).labels;
  set_num_threads(2);
  CHECK(test::same_values(close(mask, 3), one));
  CHECK(test::same_values(connected_components(mask).labels, one_labels));
  set_num_threads(before);
}

TEST_CASE("dilation, erosion and closing on a picture (scipy.ndimage)") {
  const Tensor mask = picture({
      "......",  //
      ".##...",  //
      ".##.#.",  //
      "......",  //
  });
  CHECK(test::same_values(dilate(mask, 1), picture({
                                               ".##...",  //
                                               "#####.",  //
                                               "######",  //
                                               ".##.#.",  //
                                           })));
  CHECK(test::same_values(dilate(mask, 1, Structure::square), picture({
                                                                  "####..",  //
                                                                  "######",  //
                                                                  "######",  //
                                                                  "######",  //
                                                              })));
  CHECK(test::same_values(erode(dilate(mask, 1), 1), close(mask, 1)));
  const Tensor gaps =
      picture({"..........", "..##.##...", "..##.##...", "..##.##...", "......##..", "#.......##"});
  CHECK(test::same_values(close(gaps, 1), picture({"..........", "..##.##...", "..#####...",
                                                   "..##.##...", "......##..", ".........."})));
  CHECK(test::same_values(close(gaps, 2), picture({"..........", "..........", "..#####...",
                                                   "..##.###..", "..........", ".........."})));
  CHECK(test::same_values(close(gaps, 1, Structure::square),
                          picture({"..........", "..#####...", "..#####...", "..#####...",
                                   "......##..", ".........."})));
  // Outside counts as background: a full image loses its rim.
  CHECK(test::same_values(erode(Tensor::full({1, 3, 4, 1}, 255, DType::u8), 1), picture({
                                                                                    "....",  //
                                                                                    ".##.",  //
                                                                                    "....",  //
                                                                                })));
}

TEST_CASE("components: labels in scan order, area, box and centroid") {
  const Tensor mask = picture({
      "..#..#",  //
      "#.#.#.",  //
      "###...",  //
  });
  const Components four = connected_components(mask, 4);
  CHECK(test::same_values(
      four.labels, Tensor::from(std::vector<std::int32_t>{0, 0, 1, 0, 0, 2, 1, 0, 1, 0, 3, 0,  //
                                                          1, 1, 1, 0, 0, 0},
                                {1, 3, 6, 1})));
  REQUIRE(four.components.size() == 3);
  const Component& first = four.components[0];
  CHECK(first.label == 1);
  CHECK(first.area == 6);
  CHECK(first.row0 == 0);
  CHECK(first.row1 == 3);
  CHECK(first.column0 == 0);
  CHECK(first.column1 == 3);
  CHECK(first.row == doctest::Approx(8.0 / 6));
  CHECK(first.column == doctest::Approx(7.0 / 6));
  const Components eight = connected_components(mask, 8);
  REQUIRE(eight.components.size() == 2);
  CHECK(eight.components[1].area == 2);
}

TEST_CASE("every image of a batch is labelled on its own") {
  const Tensor mask = Tensor::zeros({3, 2, 2, 1}, DType::u8);
  mask.data<std::uint8_t>()[0] = 1;  // image 0: one component
  mask.data<std::uint8_t>()[8] = 1;  // image 2: two components
  mask.data<std::uint8_t>()[11] = 1;
  const auto found = connected_components(mask).components;
  REQUIRE(found.size() == 3);
  CHECK(found[0].image == 0);
  CHECK(found[1].image == 2);
  CHECK(found[1].label == 1);
  CHECK(found[2].image == 2);
  CHECK(found[2].label == 2);
}

TEST_CASE("fill_holes and keep_largest") {
  const Tensor mask = picture({
      "####.##",  //
      "#..#.##",  //
      "#.##...",  //
      "####..#",  //
  });
  CHECK(test::same_values(fill_holes(mask), picture({
                                                "####.##",  //
                                                "####.##",  //
                                                "####...",  //
                                                "####..#",  //
                                            })));
  CHECK(test::same_values(keep_largest(mask, 2), picture({
                                                     "####.##",  //
                                                     "#..#.##",  //
                                                     "#.##...",  //
                                                     "####...",  //
                                                 })));
  CHECK(test::same_values(keep_largest(mask, 0), Tensor::zeros({1, 4, 7, 1}, DType::u8)));
  CHECK(test::same_values(keep_largest(mask, 99), mask));
  // Equal areas: the first in scan order stays.
  CHECK(test::same_values(keep_largest(picture({"#.#"}), 1), picture({"#.."})));
}

TEST_CASE("a mask that is one channel of an image works like a copy of it") {
  const Tensor mask = blobs(1, 20, 30, 0.5, 9);
  const Tensor wide = Tensor::full({1, 20, 30, 3}, 1, DType::u8);
  const Tensor slice = wide.channel_slice(1, 1);
  slice.copy_from(mask);
  CHECK(test::same_values(close(slice, 2), close(mask, 2)));
  CHECK(test::same_values(fill_holes(slice), fill_holes(mask)));
  CHECK(test::same_values(connected_components(slice).labels, connected_components(mask).labels));
}

TEST_CASE("morphology names what does not fit") {
  CHECK_THROWS_WITH_AS(dilate(Tensor::zeros({4, 4}, DType::u8), 1), doctest::Contains("got 4x4"),
                       Error);
  CHECK_THROWS_WITH_AS(erode(Tensor::zeros({1, 4, 4, 1}), 1), doctest::Contains("f32, not u8"),
                       Error);
  const Tensor mask = Tensor::zeros({1, 4, 4, 1}, DType::u8);
  CHECK_THROWS_WITH_AS(dilate(mask, -1), doctest::Contains("-1 iterations"), Error);
  CHECK_THROWS_WITH_AS(connected_components(mask, 6), doctest::Contains("connectivity 6"), Error);
  CHECK_THROWS_WITH_AS(keep_largest(mask, -1), doctest::Contains("-1 components"), Error);
}
