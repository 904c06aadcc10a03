#include "engine/optim/loss_scale.h"

#include <doctest/doctest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/optim/optimizer.h"

using namespace thorax;

TEST_CASE("loss scale: halved by an overflow, doubled after a row of good steps, within limits") {
  LossScale scale({.initial = 16, .interval = 3, .smallest = 4, .largest = 64});
  CHECK(LossScale().scale() == 65536);
  CHECK(scale.scale() == 16);
  scale.update(false);
  scale.update(false);
  CHECK(scale.good_steps() == 2);
  scale.update(true);  // starts counting anew
  CHECK(scale.scale() == 8);
  CHECK(scale.good_steps() == 0);
  for (int step = 0; step < 3; ++step) {
    CHECK(scale.scale() == 8);
    scale.update(false);
  }
  CHECK(scale.scale() == 16);
  for (int step = 0; step < 30; ++step) scale.update(false);
  CHECK(scale.scale() == 64);
  for (int step = 0; step < 4; ++step) scale.update(true);
  CHECK(scale.scale() == 4);
  CHECK_THROWS_WITH_AS(
      scale.update(true),
      "[loss_scale] gradients are not finite at the smallest scale 4: the model diverges", Error);
}

TEST_CASE("loss scale: a saved state continues, a wrong one is refused and changes nothing") {
  LossScale first({.initial = 16, .interval = 3}), second;
  first.update(true);
  first.update(false);
  second.load_state_dict(first.state_dict());
  CHECK(second.scale() == 8);
  CHECK(second.good_steps() == 1);
  first.update(false);  // `second` has a copy
  CHECK(second.good_steps() == 1);
  StateDict wrong = first.state_dict();
  wrong.erase("scale");
  CHECK_THROWS_WITH_AS(second.load_state_dict(wrong), doctest::Contains("'scale' is missing"),
                       Error);
  wrong["scale"] = Tensor::full({1}, std::numeric_limits<double>::infinity(), DType::f64);
  CHECK_THROWS_WITH_AS(second.load_state_dict(wrong), doctest::Contains("a scale of inf"), Error);
  wrong["scale"] = Tensor::full({1}, 2);
  CHECK_THROWS_WITH_AS(second.load_state_dict(wrong), doctest::Contains("should be 1 f64"), Error);
  wrong = first.state_dict();
  wrong["more"] = Tensor::zeros({1});
  CHECK_THROWS_WITH_AS(second.load_state_dict(wrong), doctest::Contains("'more' is unknown"),
                       Error);
  CHECK(second.scale() == 8);
}

TEST_CASE("loss scale: options are checked") {
  CHECK_THROWS_WITH_AS(LossScale({.initial = 0.5}), doctest::Contains("initial scale 0.5"), Error);
  CHECK_THROWS_WITH_AS(LossScale({.growth = 1}), doctest::Contains("growth 1"), Error);
  CHECK_THROWS_WITH_AS(LossScale({.backoff = 1}), doctest::Contains("backoff 1"), Error);
  CHECK_THROWS_WITH_AS(LossScale({.interval = 0}), doctest::Contains("interval of 0"), Error);
  const auto read = [](const char* json) {
    return loss_scale_options(ConfigObject(parse_json(json, "run.json"), "run.json"));
  };
  CHECK(read(R"({"initial": 1024, "interval": 10})").initial == 1024);
  CHECK(read(R"({"initial": 1024, "interval": 10})").interval == 10);
  CHECK(read(R"({"largest": 256})").initial == 256);
  CHECK_THROWS_WITH_AS(read(R"({"start": 1})"), doctest::Contains("start: unknown key"), Error);
  CHECK_THROWS_WITH_AS(read(R"({"growth": 1})"), doctest::Contains("growth"), Error);
}

TEST_CASE("an overflowing step leaves parameters, state and step count; the next one continues") {
  const auto make = [] {
    return std::vector<Module::Named>{{"p", Variable(Tensor::full({5}, 1.0), true)},
                                      {"q", Variable(Tensor::full({2, 2}, 2.0), true)}};
  };
  const auto plain = make(), scaled = make();
  AdamW one(plain, {}), other(scaled, {});
  LossScale scale({.initial = 1024});
  const auto set = [](const std::vector<Module::Named>& parameters, double p, double q) {
    parameters[0].variable.set_grad(Tensor::full({5}, p));
    parameters[1].variable.set_grad(Tensor::full({2, 2}, q));
  };
  const auto step = [&] {
    const SquareSum all = grad_squares(scaled);
    other.step(0.1, 1 / scale.scale(), all.non_finite);
    const bool overflow = all.non_finite.item() != 0;
    if (overflow) other.take_back_step();
    scale.update(overflow);
  };
  for (int k = 1; k <= 3; ++k) {
    set(plain, 0.5 * k, -0.25);
    one.step(0.1);
    if (k == 2) {
      set(scaled, std::numeric_limits<double>::infinity(), 1);
      step();
      CHECK(scale.scale() == 512);
      CHECK(other.state_dict().at("steps").data<std::int64_t>()[0] == 1);
    }
    set(scaled, scale.scale() * 0.5 * k, scale.scale() * -0.25);
    step();
  }
  for (std::size_t i = 0; i < 2; ++i)
    CHECK(plain[i].variable.value().data<float>()[1] ==
          scaled[i].variable.value().data<float>()[1]);
  CHECK(other.state_dict().at("steps").data<std::int64_t>()[1] == 3);
}
