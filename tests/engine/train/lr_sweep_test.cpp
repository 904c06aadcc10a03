#include "engine/train/lr_sweep.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/tensor/error.h"

using namespace thorax;

TEST_CASE("the rate rises exponentially from the first step to the last") {
  const LrSweep sweep({.from = 1e-6, .to = 1, .steps = 13});
  const Schedule schedule(sweep.schedule(), 5, 13);
  for (std::int64_t k = 0; k < 13; ++k)
    CHECK(schedule.lr(k) ==
          doctest::Approx(std::pow(10, -6 + 0.5 * static_cast<double>(k))).epsilon(1e-12));
}

TEST_CASE("the suggestion is where the loss falls fastest, before its minimum") {
  // A loss that falls like a logistic curve around 1e-3 and explodes above 0.3.
  LrSweep sweep({.from = 1e-6, .to = 10, .steps = 141, .smoothing = 0});
  const Schedule schedule(sweep.schedule(), 141, 141);
  std::int64_t k = 0;
  for (bool going = true; going && k < 141; ++k) {
    const double lr = schedule.lr(k), x = std::log10(lr);
    going = sweep.add(lr, 0.1 + 1 / (1 + std::exp(3 * (x + 3))) + (lr > 0.3 ? 20 * lr : 0));
  }
  CHECK(sweep.diverged());
  CHECK(k < 141);
  CHECK(sweep.rows().back().lr == doctest::Approx(0.3).epsilon(0.2));
  const auto found = sweep.suggestion();
  REQUIRE(found.has_value());
  CHECK(found->steepest == doctest::Approx(1e-3).epsilon(0.15));
  CHECK(found->lowest > 0.2);
  CHECK(found->lowest < 0.3001);
}

TEST_CASE("the drawing ends above the curve that tells something, not at the last step's loss") {
  LrSweep sweep({.smoothing = 0});
  CHECK(sweep.drawn_up_to() == 0);
  const std::vector<double> losses{0.8, 0.9, 0.7, 0.6, 0.65, 800};
  for (std::size_t i = 0; i < losses.size(); ++i) sweep.add(1e-3 * (1.0 + double(i)), losses[i]);
  CHECK(sweep.drawn_up_to() == doctest::Approx(1.2));  // twice 0.6
  LrSweep high({.smoothing = 0});
  for (const double loss : {3.0, 2.0, 1.0, 50.0}) high.add(1e-3, loss);
  CHECK(high.drawn_up_to() == doctest::Approx(3.3));  // 1.1 times 3
}

TEST_CASE("smoothing is the bias-corrected exponential average") {
  LrSweep sweep({.smoothing = 0.9});
  CHECK(sweep.add(1, 2.0));
  CHECK(sweep.add(2, 4.0));
  CHECK(sweep.rows()[0].smoothed == doctest::Approx(2.0));
  CHECK(sweep.rows()[1].smoothed == doctest::Approx((0.1 * 0.9 * 2 + 0.1 * 4) / (1 - 0.81)));
  CHECK_FALSE(sweep.add(3, std::numeric_limits<double>::quiet_NaN()));
  CHECK(sweep.diverged());
  CHECK(sweep.rows().size() == 2);
}

TEST_CASE("no suggestion where nothing falls; senseless ranges are refused") {
  LrSweep rising({.steps = 20, .smoothing = 0});
  for (int k = 0; k < 20; ++k) rising.add(1e-3 * (k + 1), 1 + 0.01 * k);
  CHECK_FALSE(rising.suggestion().has_value());
  for (const LrSweepOptions& wrong :
       {LrSweepOptions{.from = 0}, LrSweepOptions{.from = 1, .to = 0.1}, LrSweepOptions{.steps = 9},
        LrSweepOptions{.to = std::numeric_limits<double>::infinity()}})
    CHECK_THROWS_WITH_AS(LrSweep{wrong}, doctest::Contains("[lr-find]"), Error);
}

TEST_CASE("one easy batch, or the last ones before the loss explodes, are no fall") {
  const auto suggested = [](const std::vector<double>& losses) {
    LrSweep sweep({.from = 1e-7, .to = 10, .steps = static_cast<std::int64_t>(losses.size())});
    double lr = 1e-7;
    for (const double loss : losses) sweep.add(lr *= 2, loss);
    return sweep.suggestion();
  };
  std::vector<double> flat;
  for (int k = 0; k < 20; ++k) flat.push_back(0.7 + 0.01 * (k % 2));
  std::vector<double> exploding = flat, easy = flat, falling = flat;
  exploding[17] = 0.137;
  exploding[18] = 0.162;
  exploding[19] = 220.8;
  CHECK_FALSE(suggested(exploding).has_value());
  for (std::size_t k = 0; k < 20; ++k) {
    easy[k] = 0.7 + 0.01 * static_cast<double>(k) - (k == 10 ? 0.05 : 0);
    if (k >= 8) falling[k] -= 0.1 * static_cast<double>(std::min<std::size_t>(k - 7, 5));
  }
  CHECK_FALSE(suggested(easy).has_value());
  const auto found = suggested(falling);
  REQUIRE(found.has_value());
  CHECK(found->steepest >= 1e-7 * 256);
  CHECK(found->steepest <= 1e-7 * 16384);
}
