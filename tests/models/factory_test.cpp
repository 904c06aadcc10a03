#include <doctest/doctest.h>

#include <unistd.h>
#include <filesystem>

#include "engine/io/safetensors.h"
#include "tests/models/support.h"

using namespace thorax;
using nlohmann::json;

namespace {
struct TempFile {
  std::filesystem::path path = std::filesystem::temp_directory_path() /
                               fmt::format("thorax_factory_{}.safetensors", ::getpid());
  ~TempFile() { std::filesystem::remove(path); }
};
void refused(const json& config, const std::string& why) {
  CHECK_THROWS_WITH_AS(create_model(config), doctest::Contains(why.c_str()), Error);
}
}  // namespace

TEST_CASE("configurations that make no sense are refused by name") {
  refused({{"model", "vgg"}}, "unknown model 'vgg'; there are: unet, hrnet_w18");
  refused(json::array(), "wants an object");
  refused({{"width", 3}}, "wants an object with a string under 'model'");
  refused({{"model", "unet"}, {"widht", 32}}, "'unet': unknown key 'widht'");
  refused({{"model", "unet"}, {"width", "32"}}, "'width' wants a whole number, got \"32\"");
  refused({{"model", "unet"}, {"width", 3.5}}, "'width' wants a whole number");
  refused({{"model", "unet"}, {"width", 0}}, "width must be positive");
  refused({{"model", "unet"}, {"width", 1ull << 60}}, "'width' wants a whole number");
  refused({{"model", "unet"}, {"depth", 40}}, "depth 40 is outside 1..8");
  refused({{"model", "unet"}, {"recompute", 1}}, "'recompute' wants true or false");
  refused({{"model", "hrnet_w18"}, {"head", "big"}}, "head 'big' is neither");
  refused({{"model", "hrnet_w18"}, {"dropout", 1.0}}, "dropout 1 is outside [0, 1)");
  refused({{"model", "hrnet_w18"}, {"outputs", -1}}, "must be positive");
  refused({{"model", "hrnet_w18"}, {"hidden", {64, "x"}}}, "'hidden' wants an array");
  refused({{"model", "hrnet_w18"}, {"stages", {1, 2, 3}}}, "a stage of 'hrnet_w18'");
  refused({{"model", "hrnet_w18"}, {"stages", {{{"modules", 1}, {"block", 1}}}}},
          "unknown key 'block'");
  refused({{"model", "hrnet_w18"}, {"stages", {{{"modules", 1}}}}}, "1 stages, wants 3");
}

TEST_CASE("a configuration rebuilds the same model") {
  json config = test::tiny_hrnet();
  config["head"] = "study";
  config["hidden"] = {8, 4};
  for (const json& given : {config, json{{"model", "unet"}, {"width", 2}, {"depth", 1}}}) {
    const auto model = create_model(given);
    const json full = model->config();
    for (const auto& [key, value] : given.items()) CHECK(full.at(key) == value);
    const auto again = create_model(full);
    CHECK(again->config() == full);
    CHECK(test::same(again->state_dict(), model->state_dict()));
  }
}

TEST_CASE("a saved model comes back from the file alone, in eval mode") {
  const TempFile file;
  json config = test::tiny_hrnet();
  config["in_channels"] = 1;
  const auto model = create_model(config, 3);
  test::unsettle(*model);
  save_model(*model, file.path, {{"note", "mine"}});
  const auto loaded = load_model(file.path);
  CHECK(loaded->config() == model->config());
  CHECK(test::same(loaded->state_dict(), model->state_dict()));
  CHECK(!loaded->training());
  CHECK(read_safetensors_header(file.path).metadata.at("note") == "mine");
}

TEST_CASE("a training checkpoint holds a model under a prefix") {
  const TempFile file;
  const auto model = create_model({{"model", "unet"}, {"width", 2}, {"depth", 1}}, 3);
  std::map<std::string, Tensor> tensors = {{"optimizer.step", Tensor::zeros({1})}};
  for (const auto& [name, tensor] : model->state_dict()) tensors["model." + name] = tensor;
  write_safetensors(file.path, tensors, model_metadata(*model), FileOrder::pytorch);
  CHECK(test::same(load_model(file.path)->state_dict(), model->state_dict()));
}

TEST_CASE("files without a configuration, or with a wrong one, are named") {
  const TempFile file;
  const auto model = create_model({{"model", "unet"}, {"width", 2}, {"depth", 1}});
  const auto bad = [&](const std::map<std::string, std::string>& metadata, const char* why) {
    save_weights(file.path, model->state_dict(), metadata);
    CHECK_THROWS_WITH_AS(load_model(file.path), doctest::Contains(why), Error);
    CHECK_THROWS_WITH_AS(load_model(file.path), doctest::Contains(file.path.c_str()), Error);
  };
  bad({}, "no 'thorax.model' in its metadata");
  bad({{"thorax.model", "{"}}, "metadata 'thorax.model': ");
  // Nested so deep that what walks through it by recursion would end the process.
  bad({{"thorax.model", std::string(200'000, '[') + std::string(200'000, ']')}},
      "nested deeper than 64");
  bad({{"thorax.model", R"({"model":"unet","width":2,"depth":1,"x":1})"}}, "unknown key 'x'");
  bad({{"thorax.model", R"({"model":"unet","width":4,"depth":1})"}}, "shapes differ");
  bad({{"thorax.model", R"({"model":"unet","width":2,"depth":2})"}}, "missing from the file");
}

TEST_CASE("strict loading: exact weights, or declared exceptions for another task's weights") {
  const TempFile file;
  const auto imagenet = create_model(test::tiny_hrnet(), 1);
  save_weights(file.path, imagenet->state_dict());
  json config = test::tiny_hrnet();
  config["head"] = "study";
  config["hidden"] = {8};
  config["in_channels"] = 1;
  const auto ours = create_model(config, 2);
  const Tensor head = ours->state_dict().at("head.fc1.weight").clone();
  CHECK_THROWS_WITH_AS(load_model_weights(*ours, file.path),
                       doctest::Contains("missing from the file: head.fc1.bias"), Error);

  const LoadReport report = load_model_weights(*ours, file.path, WeightUse::pretrain);
  CHECK(report.missing.size() == 4);
  const StateDict state = ours->state_dict(), theirs = imagenet->state_dict();
  CHECK(test::same_values(state.at("head.fc1.weight"), head));
  CHECK(test::same_values(state.at("stage4.0.fuse_layers.3.0.2.0.weight"),
                          theirs.at("stage4.0.fuse_layers.3.0.2.0.weight")));
  const Tensor rgb = theirs.at("conv1.weight"), gray = state.at("conv1.weight");
  const float* c = rgb.data<float>();
  CHECK(gray.data<float>()[0] == c[0] + c[1] + c[2]);

  // A gray image in three channels gives what the summed filter gives on one.
  json same_head = test::tiny_hrnet();
  same_head["in_channels"] = 1;
  const auto narrow = create_model(same_head, 1);
  load_model_weights(*narrow, file.path, WeightUse::pretrain);
  for (const char* name : {"classifier.weight", "classifier.bias"})
    narrow->state_dict().at(name).copy_from(theirs.at(name));
  imagenet->eval();
  narrow->eval();
  const Tensor one = hashfill::input({1, 32, 32, 1});
  const Tensor three = Tensor::empty({1, 32, 32, 3});
  for (std::int64_t i = 0; i < 3; ++i) three.channel_slice(i, 1).copy_from(one);
  const NoGrad no_grad;
  const double off = test::difference(narrow->forward(Variable(one)).value(),
                                      imagenet->forward(Variable(three)).value(), 1)
                         .absolute;
  CHECK(off < 1e-5);

  // A missing trunk is an error even then.
  StateDict partial;
  for (const auto& [name, tensor] : theirs)
    if (name != "layer1.0.conv1.weight") partial[name] = tensor;
  save_weights(file.path, partial);
  CHECK_THROWS_WITH_AS(load_model_weights(*ours, file.path, WeightUse::pretrain),
                       doctest::Contains("missing from the file: layer1.0.conv1.weight"), Error);
}
