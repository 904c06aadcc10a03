// ResNet and DenseNet beyond their golden files: heads, sizes, recomputation, inference.
#include <doctest/doctest.h>

#include "engine/runtime/profile.h"
#include "tests/models/support.h"

using namespace thorax;

namespace {

std::vector<nlohmann::json> tiny_baselines() {
  return {test::tiny_resnet("basic"), test::tiny_resnet("bottleneck"), test::tiny_densenet()};
}

Tensor predict(const Model& model, const Tensor& input) {
  const NoGrad no_grad;
  return model.forward(Variable(input)).value().clone();
}

nlohmann::json with(nlohmann::json config, const char* key, const nlohmann::json& value) {
  config[key] = value;
  return config;
}

}  // namespace

TEST_CASE("ResNet and DenseNet: stem and heads by configuration") {
  for (const auto& [name, features, first, head] :
       {std::tuple{"resnet18", 512, "conv1.weight", "fc.weight"},
        {"resnet50", 2048, "conv1.weight", "fc.weight"},
        {"densenet121", 1024, "features.conv0.weight", "classifier.weight"},
        {"densenet169", 1664, "features.conv0.weight", "classifier.weight"}}) {
    CAPTURE(name);
    const StateDict imagenet = create_model({{"model", name}, {"in_channels", 1}})->state_dict();
    CHECK(imagenet.at(first).shape() == Shape{64, 7, 7, 1});
    CHECK(imagenet.at(head).shape() == Shape{1000, features});
    const StateDict study = create_model({{"model", name}, {"head", "study"}})->state_dict();
    CHECK(study.at(first).shape() == Shape{64, 7, 7, 3});
    CHECK(study.at("head.fc1.weight").shape() == Shape{512, features});
    CHECK(study.at("head.fc2.weight").shape() == Shape{128, 512});
    CHECK(study.at("head.fc3.weight").shape() == Shape{1, 128});
    CHECK(!study.contains(head));
  }
}

TEST_CASE("ResNet and DenseNet: wrong configurations are refused by name") {
  const auto refused = [](const nlohmann::json& config, const char* why) {
    CHECK_THROWS_WITH_AS(create_model(config), doctest::Contains(why), Error);
  };
  const nlohmann::json resnet{{"model", "resnet50"}}, densenet{{"model", "densenet121"}};
  refused(with(resnet, "layers", {3, 4, 6}), "[resnet50] 3 layers, wants 4");
  refused(with(resnet, "layers", {3, 4, 0, 3}), "[resnet50] a layer of 0 blocks, wants 1 to 1000");
  refused(with(resnet, "layers", 5), "'layers' wants an array of whole numbers, got 5");
  refused(with(resnet, "block", "wide"), "block 'wide' is neither 'basic' nor 'bottleneck'");
  refused(with(resnet, "width", 0), "channels must be positive: in 3, stem 64, width 0");
  refused(with(resnet, "growth", 32), "'resnet50': unknown key 'growth'");
  refused(with(resnet, "head", "big"), "'resnet50': head 'big' is neither");
  refused(with(densenet, "blocks", nlohmann::json::array()), "[densenet121] 0 blocks");
  refused(with(densenet, "blocks", {6, -1}), "a block of -1 layers, wants 1 to 1000");
  refused(with(densenet, "growth", 0), "channels must be positive: in 3, growth 0");
  refused(with(densenet, "dropout", 1.5), "dropout 1.5 is outside [0, 1)");
  refused(with(densenet, "hidden", {0}), "hidden widths must be positive, got 0");
  refused(with(densenet, "outputs", 0), "outputs must be positive, got 0");
}

TEST_CASE("ResNet and DenseNet: input sizes") {
  const auto resnet = create_model(test::tiny_resnet());
  resnet->eval();
  CHECK(predict(*resnet, Tensor::zeros({2, 1, 1, 3})).shape() == Shape{2, 3});
  CHECK(predict(*resnet, Tensor::zeros({1, 33, 50, 3})).shape() == Shape{1, 3});
  CHECK(predict(*resnet, Tensor::zeros({0, 32, 32, 3})).shape() == Shape{0, 3});
  CHECK_THROWS_WITH_AS(predict(*resnet, Tensor::zeros({1, 0, 32, 3})),
                       "[resnet18] input 1x0x32x3: height and width must be positive", Error);
  CHECK_THROWS_WITH_AS(predict(*resnet, Tensor::zeros({1, 32, 32, 1})),
                       "[resnet18] input 1x32x32x1: wants N x H x W x 3", Error);
  const auto densenet = create_model(test::tiny_densenet());
  densenet->eval();
  CHECK(predict(*densenet, Tensor::zeros({2, 29, 29, 3})).shape() == Shape{2, 3});
  CHECK(predict(*densenet, Tensor::zeros({1, 47, 30, 3})).shape() == Shape{1, 3});
  CHECK_THROWS_WITH_AS(predict(*densenet, Tensor::zeros({1, 64, 28, 3})),
                       "[densenet121] input 1x64x28x3: height and width must be at least 29, so "
                       "that a pixel is left after 5 halvings",
                       Error);
  CHECK_THROWS_WITH_AS(predict(*densenet, Tensor::zeros({29, 29, 3})),
                       "[densenet121] input 29x29x3: wants N x H x W x 3", Error);
}

TEST_CASE("ResNet and DenseNet: recomputing blocks changes no bit and needs less memory") {
  const Tensor input = hashfill::input({2, 64, 64, 3});
  for (nlohmann::json config : tiny_baselines()) {
    CAPTURE(config.dump());
    config["head"] = "study";
    config["hidden"] = {8};
    // Wide enough that the blocks, not the stem, hold most of the memory.
    if (config.contains("width")) config["width"] = 16;
    const test::StepResult plain = test::one_step(config, input);
    config["recompute"] = true;
    const test::StepResult again = test::one_step(config, input);
    CHECK(test::same_values(plain.logits, again.logits));
    CHECK(test::same(plain.grads, again.grads));
    CHECK(test::same(plain.state, again.state));  // running statistics moved once
    MESSAGE("peak " << plain.peak << " bytes, with recomputation " << again.peak);
    CHECK(again.peak < plain.peak);
  }
}

TEST_CASE("ResNet and DenseNet: recomputing in eval mode gives the unfolded bits") {
  for (const nlohmann::json& config : tiny_baselines()) {
    std::vector<StateDict> grads(2);
    for (const bool forget : {false, true}) {
      const auto model = create_model(with(config, "recompute", forget));
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
}

TEST_CASE("ResNet and DenseNet: folded inference equals unfolded evaluation up to rounding") {
  const Tensor input = hashfill::input({2, 64, 64, 3});
  for (const nlohmann::json& config : tiny_baselines()) {
    CAPTURE(config.dump());
    const auto model = create_model(config);
    hashfill::fill(*model);
    test::unsettle(*model);
    model->eval();
    const Tensor exact = model->forward(Variable(input)).value().clone();
    const Tensor folded = predict(*model, input);
    CHECK(!test::same_values(exact, folded));  // else nothing was folded
    double largest = 0;
    for (std::int64_t i = 0; i < exact.numel(); ++i)
      largest = std::max(largest, std::abs(static_cast<double>(exact.data<float>()[i])));
    // 64 roundings of a number of the logits' size: a few for each of some twenty layers.
    CHECK(test::difference(folded, exact, 1).absolute <= 64 * 0x1p-24 * largest);
    // And it follows the parameters.
    model->state_dict().begin()->second.fill(0.25);
    parameters_changed();
    CHECK(!test::same_values(folded, predict(*model, input)));
  }
}

TEST_CASE("ResNet: every block starts as its shortcut") {
  for (const char* block : {"basic", "bottleneck"}) {
    const StateDict state = create_model(test::tiny_resnet(block))->state_dict();
    int zero = 0;
    for (const auto& [name, tensor] : state)
      if (name.find(".bn") != std::string::npos && name.ends_with(".weight"))
        zero += tensor.data<float>()[0] == 0;
    CHECK(zero == 5);  // one for each block
    CHECK(state.at("bn1.weight").data<float>()[0] == 1);
  }
}

// `concat` times itself only when it has to copy.
TEST_CASE("DenseNet: layers write into their block's buffer, nothing is copied together") {
  for (const bool forget : {false, true}) {
    const auto model = create_model(with(test::tiny_densenet(), "recompute", forget));
    profile_reset();
    profile_enable(ProfileLevel::operations);
    const Variable logits = model->forward(Variable(hashfill::input({2, 32, 32, 3})));
    predict(*model, hashfill::input({2, 32, 32, 3}));
    profile_enable(ProfileLevel::off);
    bool convolved = false;
    for (const ProfileRow& row : profile_rows()) {
      CHECK(row.name.find("concat") == std::string::npos);
      convolved = convolved || row.name.find("conv2d") != std::string::npos;
    }
    CHECK(convolved);
    profile_reset();
  }
}

TEST_CASE("DenseNet: with recomputation memory grows by the layer, not by its square") {
  const Tensor input = hashfill::input({1, 128, 128, 3});
  const auto peak = [&](std::int64_t layers) {
    return static_cast<double>(
        test::one_step(
            {{"model", "densenet121"}, {"growth", 8}, {"blocks", {layers}}, {"recompute", true}},
            input)
            .peak);
  };
  const double short_block = peak(10), middle = peak(20), long_block = peak(30);
  MESSAGE("peak " << short_block << ", " << middle << ", " << long_block << " bytes");
  CHECK(long_block - middle < 1.25 * (middle - short_block));
}
