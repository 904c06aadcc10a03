#include "models/freeze.h"

#include <doctest/doctest.h>

#include "engine/optim/optimizer.h"
#include "models/layers.h"
#include "models/norm_statistics.h"
#include "tests/models/support.h"

using namespace thorax;

namespace {

StateDict copy(const StateDict& state) {
  StateDict result;
  for (const auto& [name, tensor] : state) result[name] = tensor.clone();
  return result;
}

bool is_frozen(const std::string& name) {
  return name.starts_with("conv1.") || name.starts_with("bn1.") || name.starts_with("layer1.");
}

}  // namespace

TEST_CASE("frozen parameters and their batch norms stay as they are; the others train") {
  for (const bool forget : {false, true}) {
    CAPTURE(forget);
    nlohmann::json config = test::tiny_resnet();
    config["recompute"] = forget;
    const auto model = create_model(config);
    test::unsettle(*model);
    const std::vector<std::string> patterns{"conv1.*", "bn1.*", "layer1.*"};
    const FreezeReport report = freeze(*model, patterns);
    CHECK(report.by_pattern == std::vector<std::int64_t>{1, 2, 9});
    CHECK(report.parameters == 12);
    CHECK(report.norm_layers == 4);
    CHECK(report.all == static_cast<std::int64_t>(model->parameters().size()));
    CHECK(report.to_string(patterns).find("4 batch norm layers use their running statistics") !=
          std::string::npos);
    const auto optimizer = make_optimizer(
        ConfigObject({{"name", "adamw"}, {"weight_decay", 0.1}}, "optimizer"), model->parameters());
    for (const auto& [name, tensor] : optimizer->state_dict())
      CHECK_FALSE(is_frozen(name.substr(name.find('.') + 1)));
    const StateDict before = copy(model->state_dict());
    model->train();
    const Variable x(test::normals({4, 32, 32, 3}, 1));
    for (int step = 0; step < 2; ++step) {
      const Variable y = model->forward(x);
      backward(y, test::normals({4, 3}, 2));
      optimizer->step(0.01);
      optimizer->zero_grad();
    }
    measure_norm_statistics(*model, 1, [&](std::int64_t) { return x.value(); });
    for (const auto& [name, tensor] : model->state_dict()) {
      CAPTURE(name);
      CHECK(test::same_values(tensor, before.at(name)) == is_frozen(name));
    }
  }
}

TEST_CASE("a frozen batch norm computes in training what it computes in evaluation") {
  BatchNorm2d norm(8);
  CHECK(norm.parameters().size() == 2);
  norm.running_mean.copy_from(test::normals({8}, 3));
  const Variable x(test::normals({2, 4, 4, 8}, 4), true);
  norm.eval();
  const Tensor expected = norm(x).value().clone();
  norm.train();
  CHECK_FALSE(test::same_values(norm(x).value(), expected));
  norm.running_mean.copy_from(test::normals({8}, 3));
  norm.running_var.fill(1);
  norm.weight.state()->requires_grad = false;
  CHECK(norm.uses_batch_statistics());  // its bias still trains
  norm.bias.state()->requires_grad = false;
  CHECK(test::same_values(norm(x).value(), expected));
  // The gradient passes through it as through a constant scale: weight / sqrt(1 + epsilon).
  backward(norm(x), Tensor::full({2, 4, 4, 8}, 1));
  CHECK(x.grad().data<float>()[5] == doctest::Approx(1 / std::sqrt(1 + 1e-5)));
  CHECK_FALSE(norm.weight.grad().defined());
}

TEST_CASE("patterns that match nothing, or everything, are refused and freeze nothing") {
  const auto model = create_model(test::tiny_resnet());
  const auto refused = [&](const std::vector<std::string>& patterns, const char* message) {
    CHECK_THROWS_WITH_AS(freeze(*model, patterns), doctest::Contains(message), Error);
    for (const Module::Named& p : model->parameters()) CHECK(p.variable.requires_grad());
  };
  refused({"conv1.*", "layr1.*"},
          "'layr1.*' matches no parameter of resnet18; did you mean 'layer1.*'? its names begin "
          "with conv1, bn1, layer1");
  refused({"layer1"}, "did you mean 'layer1.*'?");
  refused({"[", ""}, "'[' matches no parameter");
  refused({"*"}, "nothing is left to train");
  CHECK(freeze(*model, {}).parameters == 0);
}
