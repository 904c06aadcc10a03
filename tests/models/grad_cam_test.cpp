// Layers that networks offer, and class activation maps: against closed forms and PyTorch.
#include "models/grad_cam.h"

#include <doctest/doctest.h>

#include <set>

#include "engine/io/safetensors.h"
#include "kernels/linear/linear.h"
#include "kernels/pool/pool.h"
#include "models/activations.h"
#include "models/hrnet.h"
#include "models/unet.h"
#include "tests/models/support.h"
#include "tests/support/gpu.h"
#include "tests/support/places.h"

using namespace thorax;

namespace {

using test::difference;

// What an operation of the network was asked for in the backward pass.
struct Asked {
  int calls = 0;
  bool parameter = false;
};

// logits = W mean over places(A) + b with A = x, offered as "features", after an operation that
// notes whether it is walked and before one that notes what it is asked for. Everything about its
// maps is known: ds/dA = W / places.
class LinearNet : public Model {
 public:
  LinearNet(std::int64_t channels, std::int64_t outputs)
      : fc(channels, outputs), factor(add_parameter("factor", Tensor::full({1}, 1))) {
    add_module("fc", fc);
  }
  Variable forward(const Variable& x) const override {
    Variable y = offer_activation("input", spy(x, before));
    y = offer_activation("features", y);
    y = spy(y, after);
    return fc(offer_activation("pooled", global_avg_pool(y)));
  }
  nlohmann::json config() const override { return {}; }
  std::vector<std::string> head_names() const override { return {}; }

  Linear fc;
  Variable factor;
  mutable Asked before, after;

 private:
  Variable spy(const Variable& x, Asked& asked) const {
    return record("spy", x.value(), {x, factor},
                  [&asked](const Tensor& dy, const std::vector<bool>& needs) {
                    ++asked.calls;
                    asked.parameter = asked.parameter || needs[1];
                    std::vector<Tensor> grads(2);
                    if (needs[0]) grads[0] = dy.clone();
                    if (needs[1]) grads[1] = Tensor::zeros({1});
                    return grads;
                  });
  }
};

constexpr float kWeights[] = {1.5f, -2.f, 0.25f};

std::unique_ptr<LinearNet> linear_net() {
  auto net = std::make_unique<LinearNet>(3, 1);
  net->fc.weight.value().copy_from(Tensor::from(std::span<const float>(kWeights), {1, 3}));
  net->fc.bias.value().fill(0.125);
  net->eval();
  return net;
}

double value(const Tensor& t, std::int64_t i) {
  return static_cast<double>(t.data<float>()[i]);
}

void fails(const std::function<void()>& run, const std::string& wanted) {
  try {
    run();
    FAIL("no error, wanted: " << wanted);
  } catch (const Error& error) {
    CHECK_MESSAGE(std::string(error.what()).find(wanted) != std::string::npos, error.what());
  }
}

nlohmann::json golden_hrnet(std::int64_t outputs) {
  return {{"model", "hrnet_w18"},
          {"stem", 8},
          {"layer1_planes", 4},
          {"layer1_blocks", 1},
          {"width", 4},
          {"stages",
           {{{"modules", 1}, {"blocks", 1}},
            {{"modules", 1}, {"blocks", 1}},
            {{"modules", 2}, {"blocks", 1}}}},
          {"head_planes", {4, 8, 16, 32}},
          {"features", 64},
          {"outputs", outputs}};
}

std::unique_ptr<Model> filled(const nlohmann::json& config) {
  auto model = create_model(config);
  hashfill::fill(*model);
  test::unsettle(*model);
  model->eval();
  return model;
}

std::set<std::string> names(const std::vector<OfferedLayer>& layers) {
  std::set<std::string> result;
  for (const OfferedLayer& layer : layers) result.insert(layer.name);
  return result;
}

}  // namespace

TEST_CASE("a linear network: every map in closed form") {
  const auto net = linear_net();
  const Tensor x = hashfill::uniform("x", {2, 4, 5, 3}, 1.0);
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] += 0.25f;  // mostly positive
  const std::int64_t places = 20;
  for (const std::int64_t target : {0, 1}) {
    const double sign = target == 1 ? 1 : -1;
    for (const std::string& method : cam_method_names()) {
      if (method == "eigen-cam") continue;
      CAPTURE(method);
      CAPTURE(target);
      const CamResult result = class_activation_maps(
          *net, x, {.layer = "features", .method = parse_cam_method(method), .target = target});
      REQUIRE(result.maps.shape() == (Shape{2, 4, 5}));
      CHECK(result.targets == std::vector<std::int64_t>{target, target});
      for (std::int64_t n = 0; n < 2; ++n) {
        double means[3] = {0, 0, 0};
        for (std::int64_t p = 0; p < places; ++p)
          for (std::int64_t c = 0; c < 3; ++c)
            means[c] += value(x, (n * places + p) * 3 + c) / places;
        double logit = 0.125;
        for (int c = 0; c < 3; ++c) logit += static_cast<double>(kWeights[c]) * means[c];
        CHECK(value(result.logits, n) == doctest::Approx(logit).epsilon(1e-5));
        for (std::int64_t p = 0; p < places; ++p) {
          double wanted = 0;
          for (std::int64_t c = 0; c < 3; ++c) {
            const double v = sign * static_cast<double>(kWeights[c]);
            const double weight = method == "grad-cam"     ? v / places
                                  : method == "grad-cam++" ? std::max(v, 0.0) / (2 + v * means[c])
                                                           : std::max(v, 0.0) / places;
            wanted += weight * value(x, (n * places + p) * 3 + c);
          }
          CHECK(value(result.maps, n * places + p) ==
                doctest::Approx(std::max(wanted, 0.0)).epsilon(1e-5).scale(0.1));
        }
      }
    }
  }
}

TEST_CASE("eigen-cam of a layer of rank one is its pattern") {
  const auto net = linear_net();
  const Tensor x = Tensor::empty({1, 2, 3, 3});
  for (std::int64_t p = 0; p < 6; ++p)
    for (std::int64_t c = 0; c < 3; ++c)
      x.data<float>()[p * 3 + c] = static_cast<float>((p - 1) * (c + 1));
  const CamResult result = class_activation_maps(
      *net, x, {.layer = "features", .method = CamMethod::eigen_cam, .target = 1});
  for (std::int64_t p = 0; p < 6; ++p)
    CHECK(value(result.maps, p) ==
          doctest::Approx(std::max<double>(0, static_cast<double>(p - 1) * std::sqrt(14.0)))
              .epsilon(1e-5));
  // Nothing there: nothing shown, for every method.
  for (const std::string& method : cam_method_names()) {
    const CamResult none =
        class_activation_maps(*net, Tensor::zeros({1, 2, 3, 3}),
                              {.layer = "features", .method = parse_cam_method(method)});
    for (std::int64_t p = 0; p < 6; ++p) CHECK(value(none.maps, p) == 0);
    const Tensor large = upsampled_maps(none.maps, 7, 7);
    for (std::int64_t p = 0; p < 49; ++p) CHECK(value(large, p) == 0);
  }
}

TEST_CASE("the predicted class is each image's own") {
  const auto net = linear_net();
  const Tensor x = Tensor::zeros({2, 2, 2, 3});
  for (std::int64_t p = 0; p < 4; ++p) {
    x.data<float>()[p * 3] = 1.f;            // weight 1.5: positive
    x.data<float>()[(4 + p) * 3 + 1] = 1.f;  // weight -2: negative
  }
  const CamResult result = class_activation_maps(*net, x, {.layer = "features"});
  CHECK(result.targets == std::vector<std::int64_t>{1, 0});
  CHECK(value(result.maps, 0) == doctest::Approx(1.5 / 4));
  CHECK(value(result.maps, 4) == doctest::Approx(2.0 / 4));
}

TEST_CASE("no gradient of a parameter is computed, and what there was stays") {
  const auto net = linear_net();
  net->fc.weight.set_grad(Tensor::full({1, 3}, 7));
  const Tensor x = hashfill::uniform("x", {1, 2, 2, 3}, 1.0);
  const NoGrad outside;  // whatever the caller's mode is
  class_activation_maps(*net, x, {.layer = "features", .target = 1});
  CHECK(net->after.calls == 1);
  CHECK(!net->after.parameter);
  CHECK(net->before.calls == 0);
  CHECK(value(net->fc.weight.grad(), 0) == 7);
  CHECK(!net->fc.bias.grad().defined());
  CHECK(!net->factor.grad().defined());
  fails([&] { class_activation_maps(*net, x, {.layer = "nothing"}); },
        "no layer 'nothing'; there are: input 1x2x2x3, features 1x2x2x3, pooled 1x3");
  for (const auto& parameter : net->parameters()) CHECK(parameter.variable.requires_grad());
  CHECK(!activations_wanted());
  CHECK(!grad_enabled());
}

TEST_CASE("wrong use is refused") {
  const auto net = linear_net();
  const Tensor x = Tensor::zeros({1, 2, 2, 3});
  fails([&] { class_activation_maps(*net, x, {.layer = "pooled"}); }, "a map needs rows and");
  fails([&] { class_activation_maps(*net, x, {.layer = "features", .target = 2}); },
        "class 2: the model has 2");
  fails(
      [&] {
        class_activation_maps(*net, Tensor::zeros({2, 3}), {.layer = "features"});
      },
      "[grad_cam] input 2x3");
  fails([&] { parse_cam_method("gradcam"); }, "grad-cam, grad-cam++, layer-cam, eigen-cam");
  net->train();
  fails([&] { class_activation_maps(*net, x, {.layer = "features"}); }, "training mode");
  fails([&] { offered_layers(*net, {1, 2, 2, 3}); }, "training mode");
  net->eval();
  const auto unet = create_model({{"model", "unet"}, {"width", 2}, {"depth", 1}});
  unet->eval();
  fails(
      [&] {
        class_activation_maps(*unet, Tensor::zeros({1, 4, 4, 1}), {});
      },
      "[grad_cam] logits 1x4x4x1");
  {
    const ActivationScope scope("features", ActivationUse::differentiate);
    const NoGrad no_grad;
    fails([&] { net->forward(Variable(x)); }, "gradients are off");
  }
  const ActivationScope scope;
  net->forward(Variable(x));
  fails([&] { net->forward(Variable(x)); }, "layer 'input' was offered before");
}

TEST_CASE("resnet and densenet offer their stages, and heatmaps of each can be made") {
  for (const auto& [name, expected] :
       {std::pair<const char*, std::vector<std::string>>{"resnet18",
                                                         {"layer1", "layer2", "layer3", "layer4"}},
        {"densenet121",
         {"features.denseblock1", "features.denseblock2", "features.denseblock3",
          "features.denseblock4", "features.norm5"}}}) {
    const auto model =
        create_model({{"model", name}, {"in_channels", 1}, {"head", "study"}, {"outputs", 1}}, 3);
    model->eval();
    const Tensor x = Tensor::full({2, 64, 64, 1}, 0.25);
    std::vector<std::string> names;
    for (const OfferedLayer& layer : offered_layers(*model, x.shape())) {
      names.push_back(layer.name);
      CamOptions options;
      options.layer = layer.name;
      const CamResult result = class_activation_maps(*model, x, options);
      CHECK(result.logits.shape() == (Shape{2, 1}));
    }
    CHECK(names == expected);
  }
}

TEST_CASE("hrnet and unet offer their layers; an inner scope hides an outer one") {
  const auto model = filled(golden_hrnet(1));
  const auto layers = offered_layers(*model, {1, 64, 96, 3});
  CHECK(layers.front().name == "stem");
  CHECK(layers.back().name == "final_layer");
  CHECK(last_spatial_layer(layers) == "final_layer");
  CHECK(layers.back().shape == (Shape{1, 2, 3, 64}));
  const std::set<std::string> all = names(layers);
  for (const char* name :
       {"layer1", "stage2.0.branches.0", "stage2.0.branches.1", "stage3.0.fuse_layers.2",
        "stage4.0.branches.3", "stage4.1.branches.3", "stage4.1.fuse_layers.0", "incre_modules.0",
        "incre_modules.3", "downsamp_modules.0", "downsamp_modules.2"})
    CHECK_MESSAGE(all.contains(name), name);
  // 2 + 2 * (2 + 3 + 4 + 4) + 4 + 3 + 1
  CHECK(layers.size() == 36);

  const auto unet = create_model({{"model", "unet"}, {"width", 2}, {"depth", 2}}, 3);
  unet->eval();
  const Tensor x = hashfill::input({1, 8, 8, 1});
  const ActivationScope outer;
  const auto parts = offered_layers(*unet, x.shape());
  CHECK(outer.offered().empty());
  REQUIRE(parts.size() == 5);
  CHECK(layer_list(parts) ==
        "down.0 1x8x8x2, down.1 1x4x4x4, bottom 1x2x2x8, up.0 1x4x4x4, up.1 1x8x8x2");
  // The last layer is linear: the gradient of the summed logits is its filter, everywhere.
  {
    const ActivationScope scope("up.1", ActivationUse::differentiate);
    const Variable logits = unet->forward(Variable(x));
    backward(logits, Tensor::full(logits.shape(), 1));
    const Tensor grad = scope.activation().grad();
    const Tensor filter = unet->state_dict().at("head.weight");
    for (std::int64_t i = 0; i < grad.numel(); ++i)
      CHECK(value(grad, i) == doctest::Approx(value(filter, i % 2)));
  }
  // The halves of a skip connection still lie side by side when one is a leaf, and what is kept is
  // what the layer gave.
  const Tensor plain = unet->forward(Variable(x)).value();
  const ActivationScope scope("down.0", ActivationUse::differentiate);
  const Variable logits = unet->forward(Variable(x));
  CHECK(test::same_values(logits.value(), plain));
  backward(logits, Tensor::full(logits.shape(), 1));
  CHECK(all_finite(scope.activation().grad()));
}

TEST_CASE("recomputed blocks give the same maps; folded ones the same layers") {
  const Tensor x = hashfill::input({2, 64, 96, 3});
  nlohmann::json config = golden_hrnet(1);
  const auto model = filled(config);
  config["recompute"] = true;
  const auto forgetful = filled(config);
  for (const char* layer : {"stem", "stage2.0.branches.0", "stage4.0.fuse_layers.1"}) {
    const CamOptions options{.layer = layer, .target = 0};
    const CamResult result = class_activation_maps(*forgetful, x, options);
    CHECK(test::same_values(result.maps, class_activation_maps(*model, x, options).maps));
    Tensor folded, plain;
    {
      const NoGrad no_grad;
      const ActivationScope scope(layer);
      model->forward(Variable(x));
      folded = scope.activation().value();
    }
    {
      const ActivationScope scope(layer);
      model->forward(Variable(x));
      plain = scope.activation().value();
    }
    CHECK(difference(folded, plain, 1e-5, 1e-5).worst <= 1);
  }
}

TEST_CASE("maps of a tiny HRNet are PyTorch's") {
  const SafetensorsFile golden = read_safetensors(
      thorax::test::source_folder() / "tests/golden/cam.safetensors", FileOrder::pytorch);
  const Tensor x = hashfill::input({2, 64, 96, 3});
  std::map<std::int64_t, std::unique_ptr<Model>> models;
  for (const std::int64_t outputs : {1, 3}) models[outputs] = filled(golden_hrnet(outputs));
  double worst = 0;
  std::string where;
  int compared = 0;
  for (const auto& [key, wanted] : golden.tensors) {
    if (!key.starts_with("maps/")) continue;
    CAPTURE(key);
    const std::string rest = key.substr(5);
    const std::int64_t outputs = rest[0] - '0', target = rest[2] - '0';
    const std::size_t slash = rest.rfind('/');
    const CamResult result =
        class_activation_maps(*models.at(outputs), x,
                              {.layer = rest.substr(4, slash - 4),
                               .method = parse_cam_method(rest.substr(slash + 1)),
                               .target = target});
    CHECK(difference(result.logits, golden.tensors.at(fmt::format("logits{}", outputs)), 1e-5, 1e-5)
              .worst <= 1);
    REQUIRE(result.maps.shape() == wanted.shape());
    const Tensor& size = golden.tensors.at("size/" + rest);
    for (std::int64_t n = 0; n < 2; ++n) {
      const double share =
          difference(result.maps.batch_slice(n, 1), wanted.batch_slice(n, 1), 1).absolute /
          value(size, n);
      if (!(share <= worst)) {
        worst = share;
        where = key;
      }
    }
    ++compared;
    const auto large = golden.tensors.find("large/" + rest);
    if (large == golden.tensors.end()) continue;
    const Tensor ours = upsampled_maps(result.maps, large->second.size(1), large->second.size(2));
    for (std::int64_t n = 0; n < 2; ++n) {
      // Where the terms cancel, dividing by the maximum enlarges their rounding.
      double most = 0;
      for (std::int64_t i = 0; i < wanted.numel() / 2; ++i)
        most = std::max(most, value(wanted, n * wanted.numel() / 2 + i));
      if (most == 0) continue;
      CHECK(difference(ours.batch_slice(n, 1), large->second.batch_slice(n, 1),
                       1e-5 * value(size, n) / most)
                .worst <= 1);
    }
  }
  CHECK(compared == 50);
  MESSAGE("worst difference, as a share of the sum of the terms' sizes: " << worst << " at "
                                                                          << where);
  CHECK(worst <= 1e-5);
}

TEST_CASE("maps on a GPU are the CPU's") {
  const auto model = filled(golden_hrnet(1));
  const Tensor x = hashfill::input({1, 32, 32, 3});
  const CamOptions options{.layer = "stage4.1.fuse_layers.1", .target = 0};
  const CamResult cpu = class_activation_maps(*model, x, options);
  model->to(test::gpu());
  const CamResult gpu = class_activation_maps(*model, x, options);
  double most = 0;
  for (std::int64_t i = 0; i < cpu.maps.numel(); ++i) most = std::max(most, value(cpu.maps, i));
  CHECK(most > 0);
  CHECK(difference(gpu.maps, cpu.maps, 1e-4 * most).worst <= 1);
}
