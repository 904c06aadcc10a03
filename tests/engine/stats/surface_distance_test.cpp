#include "engine/stats/surface_distance.h"

#include <numeric>

#include "engine/runtime/philox.h"
#include "engine/tensor/error.h"
#include "engine/train/metrics.h"
#include "tests/engine/stats/golden.h"

using namespace thorax;
using test::same;

namespace {

std::vector<std::uint8_t> mask_of(const std::string& text) {
  std::vector<std::uint8_t> mask;
  for (const char c : text) mask.push_back(c == '1' ? 255 : 0);
  return mask;
}

}  // namespace

TEST_CASE("surface distances are SciPy's and MONAI's, overlaps scikit-learn's") {
  int undefined = 0;
  for (const auto& json : test::golden_stats("masks")) {
    const std::int64_t height = json.at("height"), width = json.at("width");
    const auto first = mask_of(json.at("first")), second = mask_of(json.at("second"));
    const PixelSpacing spacing{json.at("spacing")[0], json.at("spacing")[1]};
    const SurfaceDistances d = surface_distances(first, second, height, width, spacing);
    CHECK(same(d.hausdorff, json.at("hausdorff")));
    CHECK(same(d.hausdorff95, json.at("hausdorff95")));
    CHECK(same(d.average_symmetric, json.at("average_symmetric")));
    undefined += json.at("hausdorff").is_null();
    const SurfaceDistances back = surface_distances(second, first, height, width, spacing);
    CHECK((back.hausdorff95 == d.hausdorff95 || std::isnan(d.hausdorff95)));
    if (json.contains("squared")) {
      const auto squared = squared_distances(first, height, width, spacing);
      CHECK(same(std::accumulate(squared.begin(), squared.end(), 0.0), json.at("squared")[0]));
      CHECK(same(*std::max_element(squared.begin(), squared.end()), json.at("squared")[1]));
    }
    const OverlapCounts o = overlap(Tensor::from(first, {1, height, width, 1}),
                                    Tensor::from(second, {1, height, width, 1}));
    if (json.at("dice").is_null()) {  // both empty: 1 by definition
      CHECK(o.dice() == 1);
      CHECK(o.iou() == 1);
    } else {
      CHECK(same(o.dice(), json.at("dice")));
      CHECK(same(o.iou(), json.at("iou")));
    }
  }
  CHECK(undefined == 2);
}

TEST_CASE("the distance transform is exact") {
  Philox random(1);
  for (int trial = 0; trial < 60; ++trial) {
    const auto height = static_cast<std::int64_t>(random.below(12) + 1);
    const auto width = static_cast<std::int64_t>(random.below(12) + 1);
    const PixelSpacing spacing =
        trial % 2 == 0 ? PixelSpacing{} : PixelSpacing{random.uniform(0.1, 4), 0.7};
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(height * width));
    for (auto& pixel : mask) pixel = random.below(8) == 0;
    const auto squared = squared_distances(mask, height, width, spacing);
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t x = 0; x < width; ++x) {
        double nearest = INFINITY;
        for (std::int64_t v = 0; v < height; ++v)
          for (std::int64_t u = 0; u < width; ++u)
            if (mask[static_cast<std::size_t>(v * width + u)] != 0) {
              const double dy = spacing.row * static_cast<double>(y - v);
              const double dx = spacing.column * static_cast<double>(x - u);
              nearest = std::min(nearest, dy * dy + dx * dx);
            }
        const double got = squared[static_cast<std::size_t>(y * width + x)];
        if (std::isinf(nearest) || trial % 2 == 0)
          CHECK(got == nearest);
        else
          CHECK(std::abs(got - nearest) <= 1e-12 * nearest);
      }
  }
}

TEST_CASE("surface distances in words, and wrong input") {
  // A pixel, and one three to the right and four down.
  std::vector<std::uint8_t> a(64), b(64);
  a[9] = 1;
  b[44] = 1;
  const SurfaceDistances d = surface_distances(a, b, 8, 8);
  CHECK(d.hausdorff == 5);
  CHECK(d.hausdorff95 == 5);
  CHECK(d.average_symmetric == 5);
  CHECK(surface_distances(a, b, 8, 8, {0.5, 2}).hausdorff == doctest::Approx(std::sqrt(40)));
  // The inside of a mask does not count: a full square against its own rim is the same outline.
  std::vector<std::uint8_t> full(64, 1), rim(64, 1);
  for (std::size_t y = 1; y < 7; ++y)
    for (std::size_t x = 1; x < 7; ++x) rim[8 * y + x] = 0;
  CHECK(surface_distances(full, rim, 8, 8).hausdorff == 0);
  CHECK(std::isnan(surface_distances(a, std::vector<std::uint8_t>(64), 8, 8).average_symmetric));
  CHECK(std::isnan(surface_distances({}, {}, 0, 0).hausdorff));
  CHECK(std::isinf(squared_distances(std::vector<std::uint8_t>(6), 2, 3)[4]));
  CHECK_THROWS_AS(surface_distances(a, b, 8, 7), Error);
  CHECK_THROWS_AS(surface_distances(a, rim, -8, -8), Error);
  CHECK_THROWS_AS(surface_distances(a, b, 8, 8, {0, 1}), Error);
  CHECK_THROWS_AS(surface_distances(a, b, 8, 8, {1, INFINITY}), Error);
}
