#include <doctest/doctest.h>

#include "tests/models/support.h"

using namespace thorax;

namespace {
Tensor predict(const Model& model, const Tensor& input) {
  const NoGrad no_grad;
  return model.forward(Variable(input)).value().clone();
}
}  // namespace

TEST_CASE("HRNet: parameter counts of the published networks") {
  const std::map<std::string, std::int64_t> counts = {{"hrnet_w18", 21299004},
                                                      {"hrnet_w32", 41232680},
                                                      {"hrnet_w48", 77469864},
                                                      {"hrnet_w18_small_v2", 15597464}};
  for (const auto& [name, count] : counts)
    CHECK(create_model({{"model", name}})->parameter_count() == count);
}

TEST_CASE("HRNet: stem and heads by configuration") {
  const auto gray = create_model({{"model", "hrnet_w18_small_v2"}, {"in_channels", 1}});
  CHECK(gray->state_dict().at("conv1.weight").shape() == Shape{64, 3, 3, 1});
  const auto study = create_model({{"model", "hrnet_w18_small_v2"}, {"head", "study"}});
  const StateDict state = study->state_dict();
  CHECK(state.at("head.fc1.weight").shape() == Shape{512, 2048});
  CHECK(state.at("head.fc2.weight").shape() == Shape{128, 512});
  CHECK(state.at("head.fc3.weight").shape() == Shape{1, 128});
  CHECK(!state.contains("classifier.weight"));
  nlohmann::json config = test::tiny_hrnet();
  config["head"] = "study";
  config["hidden"] = nlohmann::json::array();
  CHECK(create_model(config)->state_dict().at("head.fc1.weight").shape() == Shape{3, 16});
}

TEST_CASE("HRNet: input sizes on which four resolutions fit") {
  const auto model = create_model(test::tiny_hrnet());
  model->eval();
  CHECK(predict(*model, Tensor::zeros({2, 32, 64, 3})).shape() == Shape{2, 3});
  CHECK(predict(*model, Tensor::zeros({1, 31, 61, 3})).shape() == Shape{1, 3});
  CHECK_THROWS_WITH_AS(predict(*model, Tensor::zeros({1, 48, 64, 3})),
                       doctest::Contains("[hrnet_w18] input 1x48x64x3: a quarter of height"),
                       Error);
  CHECK_THROWS_WITH_AS(predict(*model, Tensor::zeros({1, 32, 32, 1})),
                       "[hrnet_w18] input 1x32x32x1: wants N x H x W x 3", Error);
}

TEST_CASE("HRNet: recomputing blocks changes no bit and needs less memory") {
  nlohmann::json config = test::tiny_hrnet();
  config["head"] = "study";
  config["hidden"] = {8};
  const Tensor input = hashfill::input({2, 64, 64, 3});
  const test::StepResult plain = test::one_step(config, input);
  config["recompute"] = true;
  const test::StepResult again = test::one_step(config, input);
  CHECK(test::same_values(plain.logits, again.logits));
  CHECK(test::same(plain.grads, again.grads));
  CHECK(test::same(plain.state, again.state));  // running statistics moved once
  MESSAGE("peak " << plain.peak << " bytes, with recomputation " << again.peak);
  CHECK(again.peak < plain.peak);
}

TEST_CASE("HRNet: recomputing in eval mode gives the unfolded bits") {
  nlohmann::json config = test::tiny_hrnet();
  std::vector<StateDict> grads(2);
  for (const bool forget : {false, true}) {
    config["recompute"] = forget;
    const auto model = create_model(config);
    hashfill::fill(*model);
    test::unsettle(*model);
    model->eval();
    const Variable logits = model->forward(Variable(hashfill::input({2, 32, 32, 3})));
    backward(logits, hashfill::uniform("seed", logits.shape(), 1.0));
    for (const auto& [name, variable] : model->parameters())
      grads[forget ? 1 : 0][name] = variable.grad();
  }
  CHECK(test::same(grads[0], grads[1]));
}

TEST_CASE("HRNet: dropout follows (seed, step) alone") {
  nlohmann::json config = test::tiny_hrnet();
  config["head"] = "study";
  config["hidden"] = {32, 32};
  const auto model = create_model(config, 1);
  hashfill::fill(*model);
  const Tensor input = hashfill::input({4, 32, 32, 3});
  const auto at = [&](std::uint64_t seed, std::uint64_t step) {
    model->set_step(seed, step);
    return model->forward(Variable(input)).value().clone();
  };
  const Tensor first = at(1, 0);
  CHECK(!test::same_values(first, at(1, 1)));
  CHECK(!test::same_values(first, at(2, 0)));
  CHECK(test::same_values(first, at(1, 0)));
  model->eval();
  CHECK(test::same_values(at(1, 0), at(2, 5)));
}

// Rounding each folded weight once moves an output by no more than moving each weight by one unit
// in the last place does; how far that is, the unfolded network itself says.
TEST_CASE("HRNet: folded inference equals unfolded evaluation up to rounding") {
  const auto model = create_model(test::tiny_hrnet());
  hashfill::fill(*model);
  test::unsettle(*model);
  model->eval();
  const Tensor input = hashfill::input({2, 64, 64, 3});
  const auto unfolded = [&] { return model->forward(Variable(input)).value().clone(); };
  const Tensor exact = unfolded();
  const Tensor folded = predict(*model, input);
  CHECK(!test::same_values(exact, folded));  // else nothing was folded
  double spread = 0;
  for (int run = 0; run < 4; ++run) {
    hashfill::fill(*model);
    test::unsettle(*model);
    for (const auto& [name, variable] : model->parameters()) {
      float* values = variable.value().data<float>();
      const std::uint64_t hash = hashfill::hash_name(name + std::to_string(run));
      for (std::int64_t i = 0; i < variable.value().numel(); ++i)
        values[i] = std::nextafter(values[i], hashfill::bits(hash, i) & 1 ? 1e30f : -1e30f);
    }
    spread = std::max(spread, test::difference(unfolded(), exact, 1).absolute);
  }
  const double off = test::difference(folded, exact, 1).absolute;
  MESSAGE("folding moves the logits by " << off << ", one unit in the last place by " << spread);
  CHECK(off <= 4 * spread);
}

TEST_CASE("HRNet: the folded filters follow every change of the parameters") {
  const auto model = create_model(test::tiny_hrnet());
  hashfill::fill(*model);
  model->eval();
  const Tensor input = hashfill::input({1, 32, 32, 3});
  const Tensor before = predict(*model, input);
  CHECK(test::same_values(before, predict(*model, input)));
  const StateDict state = model->state_dict();
  SUBCASE("loading") {
    StateDict other;
    for (const auto& [name, tensor] : state) other[name] = tensor.clone();
    other["layer1.0.bn1.weight"].fill(3);
    model->load_state_dict(other);
  }
  SUBCASE("writing into a batch norm, unannounced") {
    state.at("stage4.0.branches.3.0.bn2.running_var").fill(9);
  }
  SUBCASE("scaling a filter, unannounced") {
    scale_(state.at("conv2.weight"), 1.5);
  }
  SUBCASE("replacing a parameter") {
    for (const auto& [name, variable] : model->parameters())
      if (name == "final_layer.0.bias") variable.set_value(Tensor::full(variable.shape(), 2));
  }
  SUBCASE("a training step's statistics, then back to eval") {
    model->train();
    predict(*model, hashfill::input({2, 64, 64, 3}));
    model->eval();
  }
  const Tensor after = predict(*model, input);
  CHECK(!test::same_values(before, after));
  // What it says now is what a model that never folded before says.
  const auto fresh = create_model(test::tiny_hrnet());
  fresh->load_state_dict(model->state_dict());
  fresh->eval();
  CHECK(test::same_values(after, predict(*fresh, input)));
}
