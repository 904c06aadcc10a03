#include <doctest/doctest.h>

#include "kernels/dice_loss/dice_loss.h"
#include "tests/models/support.h"

using namespace thorax;

TEST_CASE("UNet of the study: parameters and names") {
  const auto model = create_model({{"model", "unet"}});
  CHECK(model->parameter_count() == 7759521);
  const StateDict state = model->state_dict();
  CHECK(state.size() == 46);
  CHECK(state.at("down.0.conv1.weight").shape() == Shape{32, 3, 3, 1});
  CHECK(state.at("bottom.conv2.weight").shape() == Shape{512, 3, 3, 512});
  CHECK(state.at("up.0.up.weight").shape() == Shape{512, 2, 2, 256});
  CHECK(state.at("up.0.conv1.weight").shape() == Shape{256, 3, 3, 512});
  CHECK(state.at("up.3.conv2.bias").shape() == Shape{32});
  CHECK(state.at("head.weight").shape() == Shape{1, 1, 1, 32});
}

TEST_CASE("UNet sizes: any multiple of 2^depth, anything else is an error that says so") {
  const auto model = create_model({{"model", "unet"}, {"width", 2}, {"depth", 3}});
  const NoGrad no_grad;
  CHECK(model->forward(Variable(Tensor::zeros({2, 8, 24, 1}))).shape() == Shape{2, 8, 24, 1});
  CHECK_THROWS_WITH_AS(model->forward(Variable(Tensor::zeros({1, 8, 20, 1}))),
                       "[unet] input 1x8x20x1: height and width must be multiples of 8 for depth 3",
                       Error);
  CHECK_THROWS_WITH_AS(model->forward(Variable(Tensor::zeros({1, 8, 8, 3}))),
                       "[unet] input 1x8x8x3: wants N x H x W x 1", Error);
  CHECK_THROWS_WITH_AS(model->forward(Variable(Tensor::zeros({8, 8}))),
                       doctest::Contains("[unet] input 8x8"), Error);
}

TEST_CASE("UNet starts from what seed and name say") {
  const nlohmann::json config = {{"model", "unet"}, {"width", 2}, {"depth", 2}};
  CHECK(test::same(create_model(config, 5)->state_dict(), create_model(config, 5)->state_dict()));
  CHECK(!test::same(create_model(config, 5)->state_dict(), create_model(config, 6)->state_dict()));
  const auto model = create_model(config, 5);
  const NoGrad no_grad;
  const Tensor logits = model->forward(Variable(hashfill::input({1, 16, 16, 1}))).value();
  for (std::int64_t i = 0; i < logits.numel(); ++i)  // a mask near 1/2 everywhere
    CHECK(std::abs(logits.data<float>()[i]) < 0.5f);
}

TEST_CASE("UNet: recomputing blocks changes no bit and needs less memory") {
  nlohmann::json config = {{"model", "unet"}, {"width", 8}, {"depth", 3}};
  const Tensor input = hashfill::input({2, 32, 32, 1});
  const test::StepResult plain = test::one_step(config, input);
  config["recompute"] = true;
  const test::StepResult again = test::one_step(config, input);
  CHECK(test::same_values(plain.logits, again.logits));
  CHECK(test::same(plain.grads, again.grads));
  MESSAGE("peak " << plain.peak << " bytes, with recomputation " << again.peak);
  CHECK(again.peak < plain.peak);
}

TEST_CASE("UNet: inference gives the bits of training and keeps no activations") {
  const auto model = create_model({{"model", "unet"}, {"width", 8}, {"depth", 3}});
  hashfill::fill(*model);
  const Variable x(hashfill::input({1, 32, 32, 1}));
  const Tensor trained = model->forward(x).value();
  model->eval();
  const NoGrad no_grad;
  CHECK(test::same_values(trained, model->forward(x).value()));
}
