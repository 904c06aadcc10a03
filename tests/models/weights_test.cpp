// Published weights: old names, filters for colour images, heads of other tasks.
#include <doctest/doctest.h>

#include "engine/io/safetensors.h"
#include "tests/models/support.h"
#include "tests/support/places.h"
#include "tests/support/temp_folder.h"

using namespace thorax;

namespace {

struct Weights : test::TempFolder {
  std::filesystem::path file = path() / "weights.safetensors";
  void write(const StateDict& dict) const { save_weights(file, dict); }
  WeightReport load(const Model& model, WeightUse use) const {
    return load_model_weights(model, file, use);
  }
  void refused(const Model& model, WeightUse use, const std::string& why) const {
    CHECK_THROWS_WITH_AS(load(model, use), doctest::Contains(why.c_str()), Error);
  }
};

std::unique_ptr<Model> filled(const nlohmann::json& config) {
  auto model = create_model(config);
  hashfill::fill(*model);
  test::unsettle(*model);
  return model;
}

// As PyTorch wrote them before it counted batches.
StateDict without_counts(const StateDict& dict) {
  StateDict result;
  for (const auto& [name, tensor] : dict)
    if (!name.ends_with("num_batches_tracked")) result[name] = tensor;
  return result;
}

}  // namespace

TEST_CASE("torchvision's first DenseNets load under the names of today") {
  const Weights weights;
  const auto published = filled(test::tiny_densenet());
  const StateDict today = published->state_dict();
  StateDict old;
  for (const auto& [name, tensor] : without_counts(today)) {
    std::string before = name;
    for (const char* part : {"norm1.", "norm2.", "conv1.", "conv2."})
      if (const auto at = before.find(part); at != std::string::npos)
        before.insert(at + 4, ".");  // norm1.weight -> norm.1.weight
    old[before] = tensor;
  }
  // Names as they stand in torchvision's densenet121-a639ec97.pth.
  for (const char* name :
       {"features.conv0.weight", "features.norm0.running_var",
        "features.denseblock1.denselayer1.norm.1.weight",
        "features.denseblock1.denselayer1.conv.1.weight",
        "features.denseblock4.denselayer2.norm.2.running_mean",
        "features.denseblock4.denselayer2.conv.2.weight", "features.transition1.norm.weight",
        "features.transition1.conv.weight", "features.norm5.bias", "classifier.weight"})
    REQUIRE_MESSAGE(old.contains(name), name);
  weights.write(old);

  const auto model = create_model(test::tiny_densenet(), 5);
  weights.refused(*model, WeightUse::exact, "missing from the file: features.denseblock1");
  const WeightReport report = weights.load(*model, WeightUse::adapt);
  CHECK(report.renamed.size() == 9 * 10);  // layers; two norms of four tensors, two filters
  CHECK(report.renamed.front().first == "features.denseblock1.denselayer1.conv.1.weight");
  CHECK(report.renamed.front().second == "features.denseblock1.denselayer1.conv1.weight");
  CHECK(report.left_out.empty());
  CHECK(report.adapted.empty());
  CHECK(report.missing.size() == today.size() - old.size());
  CHECK(test::same(model->state_dict(), today));

  // Both names at once: which one is meant is not for us to guess.
  old["features.denseblock1.denselayer1.conv1.weight"] =
      today.at("features.denseblock1.denselayer1.conv1.weight");
  weights.write(old);
  weights.refused(*model, WeightUse::adapt,
                  "both 'features.denseblock1.denselayer1.conv1.weight' and its old name");
}

TEST_CASE("weights of another task: every family, colour to gray, old files without counts") {
  for (const auto& [config, first, head] :
       {std::tuple{test::tiny_resnet("basic"), "conv1.weight", "fc"},
        {test::tiny_resnet("bottleneck"), "conv1.weight", "fc"},
        {test::tiny_densenet(), "features.conv0.weight", "classifier"},
        {test::tiny_hrnet(), "conv1.weight", "classifier"}}) {
    CAPTURE(config.dump());
    const Weights weights;
    const auto published = filled(config);
    weights.write(without_counts(published->state_dict()));
    nlohmann::json ours = config;
    ours["in_channels"] = 1;
    ours["head"] = "study";
    ours["hidden"] = {4};
    const auto model = create_model(ours, 3);
    const Tensor fresh = model->state_dict().at("head.fc1.weight").clone();
    weights.refused(*model, WeightUse::exact, "num_batches_tracked");
    const WeightReport report = weights.load(*model, WeightUse::pretrain);
    CHECK(report.adapted ==
          std::vector<std::string>{std::string(first) + ": 3 channels summed to 1"});
    CHECK(report.left_out ==
          std::vector<std::string>{std::string(head) + ".bias", std::string(head) + ".weight"});
    CHECK(report.renamed.empty());
    CHECK(report.unexpected.empty());
    const StateDict state = model->state_dict(), theirs = published->state_dict();
    CHECK(test::same_values(state.at("head.fc1.weight"), fresh));
    const float* rgb = theirs.at(first).data<float>();
    CHECK(state.at(first).data<float>()[0] == rgb[0] + rgb[1] + rgb[2]);
    for (const auto& [name, tensor] : state)
      if (name != first && !name.starts_with("head."))
        CHECK_MESSAGE(test::same_values(tensor, theirs.at(name)), name);
  }
}

TEST_CASE("published weights as they are keep a head that fits, whole or not at all") {
  const Weights weights;
  const auto published = filled(test::tiny_resnet());
  StateDict dict = published->state_dict();
  weights.write(dict);
  nlohmann::json config = test::tiny_resnet();
  config["in_channels"] = 1;
  const auto model = create_model(config, 3);
  const Tensor fresh = model->state_dict().at("fc.weight").clone();
  CHECK(weights.load(*model, WeightUse::pretrain).left_out.size() == 2);
  CHECK(test::same_values(model->state_dict().at("fc.weight"), fresh));
  CHECK(weights.load(*model, WeightUse::adapt).left_out.empty());
  CHECK(test::same_values(model->state_dict().at("fc.weight"), dict.at("fc.weight")));

  // Another number of classes.
  config["outputs"] = 5;
  const auto five = create_model(config, 3);
  const WeightReport report = weights.load(*five, WeightUse::adapt);
  CHECK(report.left_out == std::vector<std::string>{"fc.bias", "fc.weight"});
  CHECK(report.missing == std::vector<std::string>{"fc.bias", "fc.weight"});
  // Half a head is none.
  const auto again = create_model(config, 4);
  dict["fc.weight"] = Tensor::zeros({5, 64});
  weights.write(dict);
  CHECK(weights.load(*again, WeightUse::adapt).left_out.size() == 2);
  CHECK(test::same_values(again->state_dict().at("fc.bias"), Tensor::zeros({5})));
}

TEST_CASE("a file that a wrapper wrote is named as such where weights are taken as they are") {
  const Weights weights;
  const auto published = filled(test::tiny_resnet());
  StateDict wrapped;
  for (const auto& [name, tensor] : published->state_dict()) wrapped["module." + name] = tensor;
  weights.write(wrapped);
  const auto model = create_model(test::tiny_resnet(), 3);
  weights.refused(*model, WeightUse::exact, "begin with 'module.'");
  CHECK(weights.load(*model, WeightUse::adapt).prefix == "module.");
}

TEST_CASE("what does not fit the trunk is an error, and nothing is changed") {
  const Weights weights;
  const auto published = filled(test::tiny_resnet());
  const auto model = create_model(test::tiny_resnet(), 3);
  StateDict before;
  for (const auto& [name, tensor] : model->state_dict()) before[name] = tensor.clone();
  const auto changed = [&](const char* name, const Tensor& tensor) {
    StateDict dict = published->state_dict();
    dict[name] = tensor;
    weights.write(dict);
  };
  for (const WeightUse use : {WeightUse::pretrain, WeightUse::adapt}) {
    changed("layer9.weight", Tensor::zeros({1}));
    weights.refused(*model, use, "unknown to the model: layer9.weight");
    weights.refused(*model, use, weights.file.string());
    changed("layer1.0.conv2.weight", Tensor::zeros({2, 3, 3, 3}));
    weights.refused(*model, use,
                    "layer1.0.conv2.weight: 2x3x3x3 in the file, 2x3x3x2 in the model");
    changed("conv1.weight", Tensor::zeros({8, 7, 7, 4}));
    weights.refused(*model, use, "conv1.weight: 8x7x7x4 in the file");
    // Looks like an old name, but of a network that never had such.
    changed("layer1.denselayer1.norm.1.weight", Tensor::zeros({1}));
    weights.refused(*model, use, "unknown to the model: layer1.denselayer1.norm.1.weight");
  }
  CHECK(test::same(model->state_dict(), before));
}

TEST_CASE("a checkpoint of PyTorch loads the bits of its safetensors twin, in every mode") {
  const std::filesystem::path golden = test::source_folder() / "tests/golden/pytorch";
  const nlohmann::json config{{"model", "resnet18"},
                              {"in_channels", 1},
                              {"layers", {2, 1, 1, 1}},
                              {"width", 3},
                              {"outputs", 3}};
  const auto wanted = create_model(config, 1);
  load_model_weights(*wanted, golden / "resnet_basic.safetensors");
  const auto model = create_model(config, 2);
  CHECK_THROWS_WITH_AS(load_model_weights(*model, golden / "checkpoint.pth"),
                       doctest::Contains("begin with 'module.'"), Error);
  const WeightReport report =
      load_model_weights(*model, golden / "checkpoint.pth", WeightUse::adapt);
  CHECK(report.prefix == "module.");
  CHECK(report.notes.size() == 1);
  CHECK(test::same(model->state_dict(), wanted->state_dict()));
  CHECK_THROWS_WITH_AS(read_model(golden / "checkpoint.pth"),
                       doctest::Contains("checkpoint.pth: no 'thorax.model'"), Error);
}

TEST_CASE("half precision weights are looked through for values that are not finite") {
  const Weights weights;
  const auto published = filled(test::tiny_resnet());
  StateDict half;
  for (const auto& [name, tensor] : published->state_dict())
    half[name] = tensor.dtype() == DType::f32 ? tensor.to(DType::f16) : tensor;
  weights.write(half);
  const auto model = create_model(test::tiny_resnet(), 3);
  weights.load(*model, WeightUse::exact);
  Tensor wide = published->state_dict().at("fc.bias").clone();
  wide.data<float>()[0] = 1e30f;  // infinite as f16
  half["fc.bias"] = wide.to(DType::f16);
  weights.write(half);
  weights.refused(*model, WeightUse::exact, "'fc.bias' has values that are not finite");
}
