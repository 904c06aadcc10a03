// The structure of exported files, read back by a reader of the wire format. What other programs
// compute from them is checked by tests/check_onnx.sh.
#include <doctest/doctest.h>

#include <set>

#include "engine/autograd/trace.h"
#include "kernels/dropout/dropout.h"
#include "models/onnx/export.h"
#include "tests/models/support.h"

using namespace thorax;

namespace {

struct Field {
  std::uint64_t number = 0, integer = 0;
  std::string bytes = {};
};

std::uint64_t varint(const std::string& bytes, std::size_t& at) {
  std::uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    REQUIRE(at < bytes.size());
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    value |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
}

std::vector<Field> fields(const std::string& bytes) {
  std::vector<Field> result;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::uint64_t tag = varint(bytes, at);
    Field field{.number = tag >> 3};
    const std::uint64_t type = tag & 7;
    if (type == 0) {
      field.integer = varint(bytes, at);
    } else {
      REQUIRE((type == 2 || type == 5));
      const std::size_t size = type == 5 ? 4 : varint(bytes, at);
      REQUIRE(size <= bytes.size() - at);
      field.bytes = bytes.substr(at, size);
      at += size;
    }
    result.push_back(std::move(field));
  }
  return result;
}

std::vector<std::string> all(const std::string& bytes, std::uint64_t number) {
  std::vector<std::string> found;
  for (const Field& field : fields(bytes))
    if (field.number == number) found.push_back(field.bytes);
  return found;
}

onnx::Exported exported(const nlohmann::json& config, onnx::ExportOptions options) {
  const auto model = create_model(config);
  hashfill::fill(*model);
  test::unsettle(*model);
  model->eval();
  options.channels = model->config().at("in_channels");
  return onnx::export_model(*model, options);
}

}  // namespace

TEST_CASE("ONNX: every value has one producer, before its readers") {
  for (const nlohmann::json& config :
       {nlohmann::json{{"model", "unet"}, {"width", 4}}, test::tiny_hrnet(),
        test::tiny_resnet("basic"), test::tiny_resnet("bottleneck"), test::tiny_densenet()}) {
    CAPTURE(config.dump());
    const onnx::Exported file = exported(config, {.height = 64, .width = 64});
    const std::string graph = all(file.bytes, 7).at(0);
    std::set<std::string> known{""};  // an absent input
    for (const std::string& input : all(graph, 11)) known.insert(all(input, 1).at(0));
    std::size_t initializers = 0;
    for (const std::string& tensor : all(graph, 5)) {
      CHECK(known.insert(all(tensor, 8).at(0)).second);
      ++initializers;
    }
    CHECK(initializers > 0);
    std::int64_t nodes = 0, counted = 0;
    for (const std::string& node : all(graph, 1)) {
      for (const std::string& input : all(node, 1)) CHECK_MESSAGE(known.contains(input), input);
      for (const std::string& output : all(node, 2))
        CHECK_MESSAGE(known.insert(output).second, output);
      ++nodes;
    }
    for (const auto& [type, count] : file.operators) counted += count;
    CHECK(nodes == counted);
    for (const std::string& output : all(graph, 12)) CHECK(known.contains(all(output, 1).at(0)));
  }
}

TEST_CASE(
    "ONNX: batch norm is folded where the model folds it, and counted weights are all there") {
  const nlohmann::json unet{{"model", "unet"}, {"width", 4}, {"depth", 2}};
  const onnx::Exported file = exported(unet, {.height = 16, .width = 16, .preprocess = false});
  CHECK(file.operators == std::map<std::string, std::int64_t>{{"Concat", 2},
                                                              {"Conv", 11},
                                                              {"ConvTranspose", 2},
                                                              {"Identity", 1},
                                                              {"MaxPool", 2},
                                                              {"Relu", 10},
                                                              {"Sigmoid", 1}});
  std::int64_t parameters = 0;
  for (const auto& parameter : create_model(unet)->parameters())
    parameters += parameter.variable.value().numel();
  CHECK(file.weights == parameters);
  const onnx::Exported resnet = exported(test::tiny_resnet(), {.height = 64, .width = 64});
  CHECK(!resnet.operators.contains("BatchNormalization"));
  // What stands before a convolution cannot be folded into it.
  const onnx::Exported densenet = exported(test::tiny_densenet(), {.height = 64, .width = 64});
  CHECK(densenet.operators.at("BatchNormalization") == 9 + 3 + 1);
}

TEST_CASE(
    "ONNX: the same network gives the same bytes; versions, metadata and inputs are as asked") {
  const onnx::ExportOptions options{
      .height = 16, .width = 32, .metadata = {{"classes", "[]"}}, .producer_version = "1.2.3"};
  const nlohmann::json unet{{"model", "unet"}, {"width", 4}, {"depth", 1}, {"in_channels", 3}};
  const onnx::Exported file = exported(unet, options);
  CHECK(exported(unet, options).bytes == file.bytes);
  CHECK(all(file.bytes, 2).at(0) == "thorax");
  CHECK(all(file.bytes, 3).at(0) == "1.2.3");
  CHECK(fields(file.bytes).at(0).integer == onnx::kIrVersion);
  CHECK(fields(all(file.bytes, 8).at(0)).at(1).integer == onnx::kOpset);
  CHECK(all(all(file.bytes, 14).at(0), 1).at(0) == "classes");
  const auto shape_of_input = [](const std::string& bytes) {
    const std::string input = all(all(bytes, 7).at(0), 11).at(0);
    const std::string tensor = all(all(input, 2).at(0), 1).at(0);
    std::string shape;
    for (const std::string& axis : all(all(tensor, 2).at(0), 1)) {
      const Field extent = fields(axis).at(0);
      shape += (extent.number == 1 ? std::to_string(extent.integer) : extent.bytes) + " ";
    }
    return shape;
  };
  CHECK(shape_of_input(file.bytes) == "batch 1 16 32 ");
  CHECK(shape_of_input(exported(unet, {.height = 16, .width = 32, .preprocess = false}).bytes) ==
        "batch 3 16 32 ");
}

TEST_CASE("ONNX: what has no form is refused") {
  const auto model = create_model(test::tiny_resnet());
  CHECK_THROWS_WITH_AS(onnx::export_model(*model, {.channels = 3, .height = 64, .width = 64}),
                       doctest::Contains("training mode"), Error);
  struct Odd : Model {
    Variable forward(const Variable& x) const override { return dropout(x, 0.5, true, 1, 1); }
    nlohmann::json config() const override { return {{"model", "odd"}}; }
    std::vector<std::string> head_names() const override { return {}; }
  } odd;
  odd.eval();
  CHECK_THROWS_WITH_AS(onnx::export_model(odd, {.height = 8, .width = 8}),
                       doctest::Contains("'dropout' on 1x8x8x1, which has no form"), Error);
}

TEST_CASE("a trace sees the operations of its thread while it lives, the newest trace only") {
  const auto model = create_model(test::tiny_resnet());
  model->eval();
  const Tensor x = hashfill::uniform("x", {1, 64, 64, 3}, 1);
  const NoGrad no_grad;
  Trace outer;
  {
    const Trace inner;
    model->forward(Variable(x));
    CHECK(inner.operations().size() > 10);
    CHECK(inner.operations().front().name == "conv2d");
    CHECK(inner.operations().back().name == "linear");
    CHECK(inner.operations().front().inputs.at(0).raw() == x.raw());
  }
  CHECK(outer.operations().empty());
  model->forward(Variable(x));
  CHECK(!outer.operations().empty());
}
