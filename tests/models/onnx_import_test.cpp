// Networks read from ONNX files: what this project exports comes back to the bit, what cannot be
// read is refused by name. Files of other programs: tests/check_onnx.sh.
#include <doctest/doctest.h>

#include "models/onnx/export.h"
#include "models/onnx/import.h"
#include "tests/models/support.h"
#include "tests/support/device.h"
#include "tests/support/gpu.h"

using namespace thorax;

namespace {

Tensor logits_of(const Model& model, const Tensor& x) {
  const NoGrad no_grad;
  return model.forward(Variable(x.to(model.device()))).value().to(Device{}).to_contiguous();
}

// A file of one float input "x" 1 x 2 x 4 x 4 and the output "y".
class Maker {
 public:
  Maker() {
    graph.input("x", std::vector<onnx::Axis>{std::string("n"), std::int64_t{2}, std::int64_t{4},
                                             std::int64_t{4}});
    graph.output("y", std::vector<onnx::Axis>{});
  }
  Maker& weight(const std::string& name, const Shape& shape) {
    graph.initializer(name, hashfill::uniform(name, shape, 1));
    return *this;
  }
  Maker& node(const std::string& type, const std::vector<std::string>& inputs,
              const std::string& output = "y",
              const std::map<std::string, onnx::Attribute>& attributes = {}) {
    graph.node(type, inputs, output, attributes);
    return *this;
  }
  std::string bytes(std::int64_t opset = onnx::kOpset, const std::string& domain = "") const {
    ProtoMessage file;
    file.integer(1, onnx::kIrVersion).text(2, "test").message(7, graph.message());
    file.message(8, ProtoMessage().text(1, domain).integer(2, opset));
    return file.bytes();
  }
  onnx::Imported import() const { return onnx::import_model(onnx::parse_file(bytes(), "n.onnx")); }

  onnx::Graph graph{"test"};
};

#define CHECK_REFUSED(maker, text) \
  CHECK_THROWS_WITH_AS((maker).import(), doctest::Contains(text), Error)

}  // namespace

TEST_CASE("ONNX import: exported networks give the bits of the network they come from") {
  for (const bool preprocess : {true, false}) {
    for (const nlohmann::json& config :
         {nlohmann::json{{"model", "unet"}, {"width", 4}, {"out_channels", 2}}, test::tiny_hrnet(),
          test::tiny_resnet("basic"), test::tiny_resnet("bottleneck"), test::tiny_densenet()}) {
      CAPTURE(config.dump());
      const auto model = create_model(config);
      hashfill::fill(*model);
      test::unsettle(*model);
      model->eval();
      const std::int64_t channels = model->config().at("in_channels");
      const onnx::Exported file = onnx::export_model(*model, {.channels = channels,
                                                              .height = 64,
                                                              .width = 96,
                                                              .preprocess = preprocess,
                                                              .mean = 0.5,
                                                              .deviation = 0.25,
                                                              .metadata = {{"key", "value"}}});
      const onnx::Imported read = onnx::import_model(onnx::parse_file(file.bytes, "net.onnx"));
      CHECK(read.normalises == preprocess);
      CHECK(read.mean == (preprocess ? 0.5 : 0));
      CHECK(read.deviation == (preprocess ? 0.25 : 1));
      CHECK(read.channels == channels);
      CHECK(read.height == 64);
      CHECK(read.width == 96);
      CHECK(read.metadata.at("key") == "value");
      CHECK(!read.model->training());
      const Tensor x = hashfill::uniform("x", {2, 64, 96, channels}, 1);
      CHECK(test::same_bits(logits_of(*read.model, x), logits_of(*model, x)));
      if (!preprocess) continue;
      // Moved to another device it computes there.
      const DeviceScope on(test::gpu());
      read.model->to(test::gpu());
      model->to(test::gpu());
      const Tensor small = hashfill::uniform("small", {1, 64, 64, channels}, 1);
      CHECK(test::same_bits(logits_of(*read.model, small), logits_of(*model, small)));
    }
  }
}

TEST_CASE(
    "ONNX import: products take the addition and the ReLU behind them, unless others read them") {
  Maker m;
  m.weight("w", {2, 2, 1, 1}).node("Conv", {"x", "w"}, "a").node("Add", {"a", "x"}, "b");
  m.node("Relu", {"b"}, "y");
  const onnx::Imported fused = m.import();
  Maker shared;
  shared.weight("w", {2, 2, 1, 1}).node("Conv", {"x", "w"}, "a").node("Relu", {"a"}, "r");
  shared.node("Add", {"a", "r"}, "y");
  const Tensor x = hashfill::uniform("x", {1, 4, 4, 2}, 1);
  const Tensor w = hashfill::uniform("w", {2, 2, 1, 1}, 1);
  const Tensor one = logits_of(*fused.model, x), two = logits_of(*shared.import().model, x);
  for (std::int64_t i = 0; i < x.pixels(); ++i) {
    for (std::int64_t k = 0; k < 2; ++k) {
      const float* p = x.data<float>() + i * 2;
      const float product = w.data<float>()[k * 2] * p[0] + w.data<float>()[k * 2 + 1] * p[1];
      CHECK(one.data<float>()[i * 2 + k] == doctest::Approx(std::max(0.0f, product + p[k])));
      CHECK(two.data<float>()[i * 2 + k] == doctest::Approx(product + std::max(0.0f, product)));
    }
  }
}

TEST_CASE("ONNX import: what is not read is refused by file, node and rule") {
  CHECK_REFUSED(Maker().node("Tanh", {"x"}),
                "[onnx] n.onnx: node 'y' (Tanh): this operator is not read");
  CHECK_REFUSED(Maker()
                    .weight("w", {2, 2, 3, 3})
                    .node("Conv", {"x", "w"}, "y", {{"pads", onnx::Integers{0, 1, 1, 1}}}),
                "attribute 'pads' is [0, 1, 1, 1]; read are 4 equal numbers");
  CHECK_REFUSED(Maker()
                    .weight("w", {2, 2, 3, 3})
                    .node("Conv", {"x", "w"}, "y", {{"strides", std::int64_t{2}}}),
                "attribute 'strides' is no list of integers");
  CHECK_REFUSED(
      Maker().weight("w", {2, 2, 3, 3}).node("Conv", {"x", "w"}, "y", {{"auto_pad", "SAME_UPPER"}}),
      "attribute 'auto_pad' is 'SAME_UPPER'; read is 'NOTSET'");
  CHECK_REFUSED(Maker().weight("w", {2, 2, 3, 3}).node("Conv", {"x", "w"}, "y", {{"slope", 0.5f}}),
                "attribute 'slope' is not read");
  CHECK_REFUSED(Maker().node("Conv", {"x", "x"}), "'x' is computed or no float");
  CHECK_REFUSED(Maker().weight("w", {2, 3}).node("Conv", {"x", "w"}),
                "'w' is 2x3; 4 axes are wanted");
  CHECK_REFUSED(Maker().weight("c", {1}).node("Add", {"x", "c"}),
                "'c' is a constant; a computed value is wanted");
  CHECK_REFUSED(Maker().node("Concat", {"x", "x"}, "y", {{"axis", std::int64_t{2}}}),
                "axis 2; channels (1) are read");
  CHECK_REFUSED(Maker().weight("s", {4}).node("Resize", {"x", "", "s"}),
                "read are scales [1, 1, height, width]");
  CHECK_REFUSED(Maker().node("Relu", {"z"}),
                "node 'y' (Relu) reads 'z', which nothing before it makes");
  CHECK_REFUSED(Maker().node("Relu", {"x"}, "x"), "two values are called 'x'");
  CHECK_REFUSED(Maker().node("Relu", {"x"}, "q"), "nothing makes the output 'y'");
  // Shapes are known when an image is there.
  const onnx::Imported flat = Maker().node("Flatten", {"x"}).import();
  CHECK_THROWS_WITH_AS(
      logits_of(*flat.model, Tensor::zeros({1, 4, 4, 2})),
      doctest::Contains(
          "[onnx] n.onnx: node 'y' (Flatten): pooled features N x C x 1 x 1 are read"),
      Error);
  const auto parse = [](const std::string& bytes) { onnx::parse_file(bytes, "n.onnx"); };
  CHECK_THROWS_WITH_AS(parse(Maker().node("Relu", {"x"}).bytes(11)),
                       doctest::Contains("operator set 11; read are 13 to 24"), Error);
  CHECK_THROWS_WITH_AS(parse(Maker().node("Relu", {"x"}).bytes(17, "com.example")),
                       doctest::Contains("operator set 0"), Error);
  CHECK_THROWS_WITH_AS(parse("{\"not\": \"onnx\"}"), doctest::Contains("[onnx] n.onnx"), Error);
  CHECK_THROWS_WITH_AS(parse(""), doctest::Contains("not an ONNX file"), Error);
}

TEST_CASE("ONNX import: a file that is cut or changed is an error or a whole network") {
  const std::string whole =
      Maker().weight("w", {2, 2, 3, 3}).node("Conv", {"x", "w"}, "a").node("Relu", {"a"}).bytes();
  CHECK_NOTHROW(onnx::import_model(onnx::parse_file(whole, "n.onnx")));
  std::size_t errors = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    try {
      onnx::import_model(onnx::parse_file(whole.substr(0, size), "n.onnx"));
    } catch (const Error& error) {
      ++errors;
      CHECK(std::string(error.what()).starts_with("[onnx] n.onnx"));
    }
  }
  CHECK(errors == whole.size());
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int flip : {1, 0x80, 0xff}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      try {
        onnx::import_model(onnx::parse_file(changed, "n.onnx"));
      } catch (const Error& error) {
        CHECK(std::string(error.what()).starts_with("[onnx] n.onnx"));
      }
    }
  }
}
