// Whole models against PyTorch and timm: logits, loss, every parameter's gradient and three SGD
// steps in train mode. tests/golden/README.md says how the files and their tolerances were made.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bench/peers/hashfill.h"
#include "engine/io/safetensors.h"
#include "engine/optim/step.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dice_loss/dice_loss.h"
#include "models/factory.h"
#include "tests/support/check.h"
#include "tests/support/places.h"

using namespace thorax;
using nlohmann::json;

namespace {

const std::filesystem::path kFolder = thorax::test::source_folder() / "tests/golden";

// The training run the files were made with: SGD, learning rate 0.01, momentum 0.8, weight decay
// 1e-4.
class Run {
 public:
  Run(Model& model, const Tensor& input, const Tensor& target)
      : model_(model), input_(input), target_(target) {
    model_.train();
    for (const auto& parameter : model_.parameters())
      momentum_.push_back(Tensor::zeros(parameter.variable.shape()));
  }
  // Forward and backward; returns the loss.
  double gradients() {
    model_.zero_grad();
    const Variable result = model_.forward(input_);
    logits = result.value();
    const Variable loss =
        target_.dtype() == DType::i64 ? cross_entropy(result, target_) : dice_loss(result, target_);
    backward(loss);
    return loss.value().item();
  }
  void update() {
    const auto parameters = model_.parameters();
    for (std::size_t i = 0; i < parameters.size(); ++i)
      sgd_step({.lr = 0.01, .momentum = 0.8, .weight_decay = 1e-4, .first = first_},
               parameters[i].variable.value(), parameters[i].variable.grad(), momentum_[i]);
    first_ = false;
    parameters_changed();
  }
  Tensor logits;

 private:
  Model& model_;
  Variable input_;
  Tensor target_;
  std::vector<Tensor> momentum_;
  bool first_ = true;
};

// Largest |a - b| / tolerance over everything compared, and where.
struct Worst {
  double share = 0;
  std::string where;
  int failures = 0;
  void see(double difference, double tolerance, const std::string& name) {
    const double value = difference / tolerance;
    if (!(value <= 1) && ++failures <= 12)
      fmt::print(stderr, "  {}: off by {:.3g}, tolerance {:.3g}\n", name, difference, tolerance);
    if (!(value <= share)) {
      share = std::isnan(value) ? INFINITY : value;
      where = fmt::format("{}: off by {:.3g}, tolerance {:.3g}", name, difference, tolerance);
    }
  }
};

void check_full(const std::string& name, const json& config) {
  CAPTURE(name);
  const SafetensorsFile file =
      read_safetensors(kFolder / (name + ".safetensors"), FileOrder::pytorch);
  const auto tensor = [&](const std::string& key) {
    REQUIRE_MESSAGE(file.tensors.contains(key), key);
    // The files keep counts as one element of rank 1, PyTorch itself as a scalar.
    const Tensor& value = file.tensors.at(key);
    return value.dtype() == DType::i64 && key.ends_with("tracked") ? value.reshape(Shape{}) : value;
  };
  const auto model = create_model(config);
  StateDict weights;
  for (const auto& [key, value] : file.tensors)
    if (key.starts_with("param.")) weights[key.substr(6)] = tensor(key);
  model->load_state_dict(weights);

  Worst worst;
  std::size_t compared = 0;
  const auto compare = [&](const Tensor& ours, const std::string& key) {
    const Tensor theirs = tensor(key);
    REQUIRE_MESSAGE(ours.shape() == theirs.shape(), key);
    ++compared;
    if (theirs.dtype() == DType::i64) {
      CHECK_MESSAGE(test::same_values(ours, theirs), key);
    } else {
      worst.see(test::difference(ours, theirs, 1.0).absolute, tensor("tol." + key).item(), key);
    }
  };
  Run run(*model, tensor("input"), tensor("target"));
  const Tensor losses = Tensor::empty({4});
  for (int step = 0; step < 4; ++step) {
    losses.data<float>()[step] = static_cast<float>(run.gradients());
    if (step == 0) {
      compare(run.logits, "logits");
      for (const auto& [key, variable] : model->parameters())
        compare(variable.grad(), "grad." + key);
    }
    if (step == 3) break;
    run.update();
    if (step == 2)
      for (const auto& [key, value] : model->state_dict()) compare(value, "after3." + key);
  }
  compare(losses, "losses");
  // Every golden tensor has met its counterpart.
  std::size_t golden = 0;
  for (const auto& [key, value] : file.tensors)
    golden += key == "logits" || key == "losses" || key.starts_with("grad.") ||
              key.starts_with("after3.");
  CHECK(compared == golden);
  MESSAGE(name << ": worst share of the tolerance " << worst.share << " at " << worst.where);
  CHECK(worst.share <= 1);
}

void check_sampled(const std::string& name) {
  CAPTURE(name);
  std::ifstream stream(kFolder / (name + ".json"));
  REQUIRE(stream.good());
  const json golden = json::parse(stream);
  const auto model = create_model({{"model", name}});
  CHECK(model->parameter_count() == golden["parameters"].get<std::int64_t>());
  hashfill::fill(*model);
  const StateDict state = model->state_dict();
  REQUIRE(state.size() == golden["tensors"].size());
  const std::vector<std::int64_t> nchw = golden["input_shape"];
  const Shape shape{nchw[0], nchw[2], nchw[3], nchw[1]};
  const Tensor target = golden["classes"].is_null() ? hashfill::mask({nchw[0], nchw[2], nchw[3], 1})
                                                    : hashfill::classes(nchw[0], golden["classes"]);
  Worst worst;
  // `row`: sampled elements (flat index in PyTorch's order) and the norm.
  const auto compare = [&](const Tensor& ours, const json& row, const std::string& key) {
    const Tensor flat = (ours.rank() == 4 ? nhwc_to_nchw(ours) : ours).to(DType::f64);
    const double* values = flat.data<double>();
    double squares = 0;
    for (std::int64_t i = 0; i < flat.numel(); ++i) squares += values[i] * values[i];
    if (row["tol"] == 0) {  // a count
      CHECK_MESSAGE(values[0] == row["value"][0].get<double>(), key);
      return;
    }
    worst.see(std::abs(std::sqrt(squares) - row["norm"].get<double>()), row["norm_tol"],
              key + " (norm)");
    for (std::size_t i = 0; i < row["index"].size(); ++i)
      worst.see(
          std::abs(values[row["index"][i].get<std::int64_t>()] - row["value"][i].get<double>()),
          row["tol"], key);
  };
  Run run(*model, hashfill::input(shape), target);
  for (int step = 0; step < 4; ++step) {
    const double loss = run.gradients();
    worst.see(std::abs(loss - golden["losses"][static_cast<std::size_t>(step)].get<double>()),
              golden["losses_tol"], fmt::format("loss {}", step));
    if (step == 0) {
      const Tensor logits = run.logits.rank() == 4 ? nhwc_to_nchw(run.logits) : run.logits;
      const std::vector<double> wanted = golden["logits"];
      REQUIRE(logits.numel() == static_cast<std::int64_t>(wanted.size()));
      for (std::size_t i = 0; i < wanted.size(); ++i)
        worst.see(std::abs(static_cast<double>(logits.data<float>()[i]) - wanted[i]),
                  golden["logits_tol"], "logits");
    }
    std::map<std::string, Tensor> gradients;
    for (const auto& [key, variable] : model->parameters()) gradients[key] = variable.grad();
    if (step < 3) run.update();
    if (step != 0 && step != 2) continue;
    for (const json& row : golden["tensors"]) {
      const std::string key = row["name"];
      REQUIRE_MESSAGE(state.contains(key), key);
      CHECK_MESSAGE(hashfill::torch_shape(state.at(key).shape()) ==
                        Shape(row["shape"].get<std::vector<std::int64_t>>()),
                    key);
      if (step == 0 && row.contains("grad")) compare(gradients.at(key), row["grad"], "grad." + key);
      if (step == 2) compare(state.at(key), row["after3"], "after3." + key);
    }
  }
  MESSAGE(name << ": worst share of the tolerance " << worst.share << " at " << worst.where);
  CHECK(worst.share <= 1);
}

const json kTinyHrnet = {
    {"model", "hrnet_w18"},
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
    {"outputs", 3},
};

const json kTinyResnet = {{"model", "resnet18"},
                          {"in_channels", 1},
                          {"layers", {2, 1, 1, 1}},
                          {"width", 3},
                          {"outputs", 3}};
const json kTinyBottleneck = {{"model", "resnet50"},
                              {"in_channels", 1},
                              {"layers", {1, 2, 1, 1}},
                              {"width", 2},
                              {"outputs", 3}};
const json kTinyDensenet = {
    {"model", "densenet121"}, {"growth", 4}, {"blocks", {1, 3, 2, 1}}, {"outputs", 3}};

void check_small() {
  check_full("unet_w4_d4", {{"model", "unet"}, {"width", 4}});
  check_full("unet_w8_d2", {{"model", "unet"}, {"width", 8}, {"depth", 2}, {"in_channels", 3}});
  const std::pair<const char*, json> classifiers[] = {{"hrnet_tiny", kTinyHrnet},
                                                      {"resnet_basic", kTinyResnet},
                                                      {"resnet_bottleneck", kTinyBottleneck},
                                                      {"densenet_tiny", kTinyDensenet}};
  for (const auto& [name, config] : classifiers) {
    check_full(name, config);
    json forgetful = config;
    forgetful["recompute"] = true;
    check_full(name, forgetful);
  }
}

}  // namespace

TEST_CASE("small models, default providers") {
  check_small();
}

TEST_CASE("small models, reference everywhere") {
  struct Reset {
    ~Reset() {
      for (const ProviderInfo& info : registered_providers()) choose_provider(info.operation, "");
    }
  } reset;
  choose_providers("*=reference");
  check_small();
}

// Of every model: the names and shapes of its state dict, and its parameters.
TEST_CASE("state dicts in full size are PyTorch's and timm's") {
  std::ifstream stream(kFolder / "state_dicts.json");
  REQUIRE(stream.good());
  const json golden = json::parse(stream);
  REQUIRE(golden.size() == model_names().size());
  for (const std::string& name : model_names()) {
    CAPTURE(name);
    const auto model = create_model({{"model", name}});
    std::string lines;
    for (const auto& [key, tensor] : model->state_dict()) {
      lines += key;
      for (const std::int64_t extent : hashfill::torch_shape(tensor.shape()).extents())
        lines += fmt::format(" {}", extent);
      lines += '\n';
    }
    CHECK(model->parameter_count() == golden.at(name).at("parameters").get<std::int64_t>());
    CHECK(model->state_dict().size() == golden.at(name).at("tensors").get<std::size_t>());
    CHECK(fmt::format("{:016x}", hashfill::hash_name(lines)) == golden.at(name).at("fnv1a64"));
  }
}

TEST_CASE("unet at its full width") {
  check_sampled("unet");
}
TEST_CASE("hrnet_w18") {
  check_sampled("hrnet_w18");
}
TEST_CASE("hrnet_w18_small_v2") {
  check_sampled("hrnet_w18_small_v2");
}
TEST_CASE("hrnet_w32") {
  check_sampled("hrnet_w32");
}
TEST_CASE("hrnet_w48") {
  check_sampled("hrnet_w48");
}
