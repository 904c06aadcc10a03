// torchvision's and torchxrayvision's networks: the names and shapes of their state dicts, and what
// they compute (tests/golden/make_published.py).
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>

#include "engine/io/config.h"
#include "engine/io/safetensors.h"
#include "models/weights.h"
#include "tests/models/support.h"
#include "tests/support/places.h"
#include "tests/support/temp_folder.h"

using namespace thorax;
using nlohmann::json;

namespace {

json golden(const std::string& name) {
  return load_json(test::source_folder() / "tests/golden/published.json").at(name);
}

void check_names(const Model& model, const json& wanted) {
  std::string lines;
  for (const auto& [key, tensor] : model.state_dict()) {
    lines += key;
    for (const std::int64_t extent : hashfill::torch_shape(tensor.shape()).extents())
      lines += fmt::format(" {}", extent);
    lines += '\n';
  }
  CHECK(fmt::format("{:016x}", hashfill::hash_name(lines)) == wanted.at("fnv1a64"));
}

void check_logits(const Model& model, const json& wanted) {
  const auto shape = wanted.at("input_shape").get<std::vector<std::int64_t>>();
  const NoGrad no_grad;
  const Tensor logits =
      model.forward(Variable(hashfill::input({shape[0], shape[2], shape[3], shape[1]}))).value();
  const auto values = wanted.at("logits").get<std::vector<double>>();
  double worst = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(logits.data<float>()[i]) - values[i]));
  CHECK(worst <= wanted.at("tol").get<double>());
}

}  // namespace

TEST_CASE("torchvision's networks have the names of ours and compute the same") {
  for (const char* name : {"resnet18", "resnet50", "densenet121"}) {
    CAPTURE(name);
    const json wanted = golden(std::string("torchvision/") + name);
    const auto model = create_model({{"model", name}});
    check_names(*model, wanted);
    hashfill::fill(*model);
    model->eval();
    check_logits(*model, wanted);
  }
}

TEST_CASE("torchxrayvision's DenseNet121: its filter is fitted to the pixels of this program") {
  const test::TempFolder folder;
  const json config{{"model", "densenet121"}, {"in_channels", 1}, {"outputs", 18}};
  const json wanted = golden("torchxrayvision/densenet121");
  const auto published = create_model(config);
  check_names(*published, wanted);
  hashfill::fill(*published);
  StateDict dict = published->state_dict();
  dict["op_threshs"] = Tensor::full({18}, 0.5);
  write_safetensors(folder / "xrv.safetensors", dict, {}, FileOrder::pytorch);

  const auto model = create_model(config, 5);
  const WeightReport report =
      load_model_weights(*model, folder / "xrv.safetensors", WeightUse::adapt);
  REQUIRE(report.adapted.size() == 1);
  CHECK(report.adapted[0].starts_with("features.conv0.weight: multiplied by 512"));
  REQUIRE(report.notes.size() == 1);
  CHECK(report.notes[0].starts_with("op_threshs is left out"));
  CHECK(report.left_out.empty());
  CHECK(report.missing.empty());
  model->eval();
  check_logits(*model, wanted);

  // What this program made of it is not multiplied again.
  save_model(*model, folder / "ours.safetensors");
  const auto again = create_model(config, 6);
  CHECK(load_model_weights(*again, folder / "ours.safetensors", WeightUse::adapt).adapted.empty());
  CHECK(test::same(again->state_dict(), model->state_dict()));

  // For another number of findings: the head is left out, and a line says why.
  const auto few = create_model({{"model", "densenet121"}, {"in_channels", 1}, {"outputs", 3}}, 7);
  const WeightReport other = load_model_weights(*few, folder / "xrv.safetensors", WeightUse::adapt);
  CHECK(other.left_out == std::vector<std::string>{"classifier.bias", "classifier.weight"});
  CHECK(other.head_reason == "'classifier.bias' is 18 in the file, 3 in this network");
  CHECK(other.adapted == report.adapted);
}

TEST_CASE("a first filter over gray images is spread over three equal channels") {
  const test::TempFolder folder;
  json gray = test::tiny_resnet();
  gray["in_channels"] = 1;
  const auto published = create_model(gray, 1);
  hashfill::fill(*published);
  save_weights(folder / "gray.safetensors", published->state_dict());
  const auto model = create_model(test::tiny_resnet(), 2);
  const WeightReport report =
      load_model_weights(*model, folder / "gray.safetensors", WeightUse::adapt);
  CHECK(report.adapted == std::vector<std::string>{"conv1.weight: 1 channel spread over 3"});
  published->eval();
  model->eval();
  const Tensor one = hashfill::input({1, 40, 40, 1}), three = Tensor::empty({1, 40, 40, 3});
  for (std::int64_t i = 0; i < three.numel(); ++i)
    three.data<float>()[i] = one.data<float>()[i / 3];
  const NoGrad no_grad;
  const Tensor a = published->forward(Variable(one)).value(),
               b = model->forward(Variable(three)).value();
  for (std::int64_t i = 0; i < a.numel(); ++i)
    CHECK(std::abs(a.data<float>()[i] - b.data<float>()[i]) < 1e-4f);
}
