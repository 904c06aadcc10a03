#include "models/onnx/export.h"

#include <fmt/format.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "engine/autograd/trace.h"
#include "models/onnx/graph.h"

namespace thorax::onnx {
namespace {

constexpr std::size_t kMaxBytes = (std::size_t{1} << 31) - 1;  // what readers of protobuf accept

Integers pair(const nlohmann::json& attributes, const char* key) {
  return attributes.at(key).get<Integers>();
}
// The same before and after: ONNX names the pads of all sides.
Integers both_sides(const Integers& pads) {
  return {pads[0], pads[1], pads[0], pads[1]};
}

// Turns one trace into a graph. Images are N x H x W x C here and N x C x H x W there, filters
// K x R x S x C and K x C x R x S; values between operations keep their meaning, so nothing but
// constants is transposed.
class Converter {
 public:
  Converter(Graph& graph, const Model& model) : graph_(graph) {
    for (const auto& [name, tensor] : model.state_dict()) names_of_weights_[tensor.raw()] = name;
  }

  // `name` stands for this value from now on.
  void bind(const Tensor& value, const std::string& name) {
    const auto [position, fresh] = values_.emplace(key(value), name);
    THORAX_CHECK(fresh, "[onnx] the memory of value '{}' is written again as '{}': no graph",
                 position->second, name);
  }
  const std::string& name_of(const Tensor& value) const {
    const auto found = values_.find(key(value));
    THORAX_CHECK(found != values_.end(),
                 "[onnx] an operation reads a value {} that no traced operation made",
                 value.shape());
    return found->second;
  }

  void add(const TracedOperation& op) {
    prefix_ = fmt::format("{}_{}", op.name, count_++);
    if (op.name == "conv2d") return conv2d(op);
    if (op.name == "conv_transpose2d") return conv_transpose2d(op);
    if (op.name == "batch_norm") return batch_norm(op);
    if (op.name == "linear") return linear(op);
    if (op.name == "concat") return concat(op);
    if (op.name == "fuse_multires") return fuse(op);
    if (op.name == "max_pool2d" || op.name == "avg_pool2d") return pool(op);
    if (op.name == "global_avg_pool") return global_average(op);
    if (op.name == "upsample_nearest" || op.name == "upsample_bilinear") return upsample(op);
    if (op.name == "relu" || op.name == "sigmoid")
      return simple(op, op.name == "relu" ? "Relu" : "Sigmoid");
    fail("[onnx] the network uses '{}' on {}, which has no form in the file", op.name,
         op.inputs.at(0).shape());
  }

 private:
  using Key = std::pair<const void*, std::string>;
  static Key key(const Tensor& value) { return {value.raw(), value.shape().to_string()}; }

  // A constant: the name of its initializer, written the first time it is used.
  std::string constant(const Tensor& value, const std::string& what) {
    const auto known = constants_.find(key(value));
    if (known != constants_.end()) return known->second;
    const auto named = names_of_weights_.find(value.raw());
    const std::string name =
        named == names_of_weights_.end() ? fmt::format("{}.{}", prefix_, what) : named->second;
    graph_.initializer(name, value.rank() == 4 ? nhwc_to_nchw(value) : value.to_contiguous());
    constants_.emplace(key(value), name);
    return name;
  }
  std::string optional_constant(const Tensor& value, const std::string& what) {
    return value.defined() ? constant(value, what) : std::string();
  }

  // The rest of an operation whose product is called `product`: + residual, ReLU.
  void finish(const TracedOperation& op, std::string product, const Tensor& residual) {
    if (residual.defined()) {
      graph_.node("Add", {product, name_of(residual)}, prefix_ + ".sum");
      product = prefix_ + ".sum";
    }
    if (op.attributes.value("relu", false)) {
      graph_.node("Relu", {product}, prefix_ + ".relu");
      product = prefix_ + ".relu";
    }
    bind(op.output, product);
  }

  void conv2d(const TracedOperation& op) {
    std::vector<std::string> inputs{name_of(op.inputs[0]), constant(op.inputs[1], "weight")};
    if (op.inputs[2].defined()) inputs.push_back(constant(op.inputs[2], "bias"));
    graph_.node("Conv", inputs, prefix_,
                {{"kernel_shape", pair(op.attributes, "kernel")},
                 {"strides", pair(op.attributes, "stride")},
                 {"pads", both_sides(pair(op.attributes, "pad"))},
                 {"dilations", pair(op.attributes, "dilation")},
                 {"group", op.attributes.at("groups").get<std::int64_t>()}});
    finish(op, prefix_, op.inputs[3]);
  }

  void conv_transpose2d(const TracedOperation& op) {
    std::vector<std::string> inputs{name_of(op.inputs[0]), constant(op.inputs[1], "weight")};
    if (op.inputs[2].defined()) inputs.push_back(constant(op.inputs[2], "bias"));
    graph_.node("ConvTranspose", inputs, prefix_,
                {{"kernel_shape", pair(op.attributes, "kernel")},
                 {"strides", pair(op.attributes, "stride")},
                 {"pads", both_sides(pair(op.attributes, "pad"))},
                 {"output_padding", pair(op.attributes, "extra")},
                 {"dilations", pair(op.attributes, "dilation")},
                 {"group", op.attributes.at("groups").get<std::int64_t>()}});
    finish(op, prefix_, {});
  }

  void batch_norm(const TracedOperation& op) {
    THORAX_CHECK(!op.attributes.at("training").get<bool>(),
                 "[onnx] batch norm in training mode: call eval() first");
    graph_.node(
        "BatchNormalization",
        {name_of(op.inputs[0]), constant(op.inputs[1], "weight"), constant(op.inputs[2], "bias"),
         constant(op.inputs[3], "running_mean"), constant(op.inputs[4], "running_var")},
        prefix_, {{"epsilon", op.attributes.at("epsilon").get<float>()}});
    finish(op, prefix_, op.inputs[5]);
  }

  void linear(const TracedOperation& op) {
    std::vector<std::string> inputs{name_of(op.inputs[0]), constant(op.inputs[1], "weight")};
    if (op.inputs[2].defined()) inputs.push_back(constant(op.inputs[2], "bias"));
    graph_.node("Gemm", inputs, prefix_, {{"transB", std::int64_t{1}}});
    finish(op, prefix_, {});
  }

  void concat(const TracedOperation& op) {
    std::vector<std::string> inputs;
    for (const Tensor& part : op.inputs) inputs.push_back(name_of(part));
    graph_.node("Concat", inputs, prefix_, {{"axis", std::int64_t{1}}});
    bind(op.output, prefix_);
  }

  // A Resize to `factor` times the size, each pixel repeated.
  std::string repeated(const std::string& input, std::int64_t factor, const std::string& output) {
    const std::string scales = fmt::format("repeat_{}", factor);
    if (repeats_.insert({factor, scales}).second) {
      const Tensor values = Tensor::full({4}, static_cast<double>(factor));
      values.data<float>()[0] = values.data<float>()[1] = 1;
      graph_.initializer(scales, values);
    }
    graph_.node("Resize", {input, "", scales}, output,
                {{"mode", "nearest"},
                 {"coordinate_transformation_mode", "asymmetric"},
                 {"nearest_mode", "floor"}});
    return output;
  }

  void fuse(const TracedOperation& op) {
    const Integers factors = pair(op.attributes, "factors");
    std::vector<std::string> inputs;
    for (std::size_t i = 0; i < factors.size(); ++i) {
      std::string branch = name_of(op.inputs[i]);
      if (factors[i] > 1) branch = repeated(branch, factors[i], fmt::format("{}.{}", prefix_, i));
      inputs.push_back(std::move(branch));
    }
    graph_.node("Sum", inputs, prefix_);
    finish(op, prefix_, {});
  }

  void pool(const TracedOperation& op) {
    const bool average = op.name == "avg_pool2d";
    const bool ceil_mode = op.attributes.at("ceil_mode").get<bool>();
    std::map<std::string, Attribute> attributes{{"kernel_shape", pair(op.attributes, "kernel")},
                                                {"strides", pair(op.attributes, "stride")},
                                                {"pads", both_sides(pair(op.attributes, "pad"))},
                                                {"ceil_mode", std::int64_t{ceil_mode}}};
    if (average) {
      const bool counted = op.attributes.at("count_include_pad").get<bool>();
      // A last window that reaches beyond the padding is divided differently by ONNX's runtimes.
      THORAX_CHECK(
          !ceil_mode || !counted,
          "[onnx] an average over windows beyond the padded image has no form in the file");
      attributes.emplace("count_include_pad", std::int64_t{counted});
    }
    graph_.node(average ? "AveragePool" : "MaxPool", {name_of(op.inputs[0])}, prefix_, attributes);
    bind(op.output, prefix_);
  }

  void global_average(const TracedOperation& op) {
    graph_.node("GlobalAveragePool", {name_of(op.inputs[0])}, prefix_ + ".mean");
    graph_.node("Flatten", {prefix_ + ".mean"}, prefix_, {{"axis", std::int64_t{1}}});
    bind(op.output, prefix_);
  }

  void upsample(const TracedOperation& op) {
    const Tensor& x = op.inputs[0];
    const Integers size = pair(op.attributes, "size");
    if (op.name == "upsample_nearest") {
      bind(op.output, repeated(name_of(x), size[0] / x.size(1), prefix_));
      return;
    }
    const Tensor scales = Tensor::full({4}, 1);
    for (const int axis : {0, 1})
      scales.data<float>()[2 + axis] = static_cast<float>(size[static_cast<std::size_t>(axis)]) /
                                       static_cast<float>(x.size(1 + axis));
    graph_.initializer(prefix_ + ".scales", scales);
    const bool corners = op.attributes.at("align_corners").get<bool>();
    graph_.node("Resize", {name_of(x), "", prefix_ + ".scales"}, prefix_,
                {{"mode", "linear"},
                 {"coordinate_transformation_mode", corners ? "align_corners" : "half_pixel"}});
    bind(op.output, prefix_);
  }

  void simple(const TracedOperation& op, const char* type) {
    graph_.node(type, {name_of(op.inputs[0])}, prefix_);
    bind(op.output, prefix_);
  }

  Graph& graph_;
  std::map<const void*, std::string> names_of_weights_;
  std::map<Key, std::string> values_, constants_;
  std::map<std::int64_t, std::string> repeats_;
  std::string prefix_;  // of the operation at work: names are unique by its number
  int count_ = 0;
};

// "image" as the network wants it.
std::string preprocessed(Graph& graph, const ExportOptions& o) {
  if (!o.preprocess) return "image";
  graph.initializer("preprocess.mean", Tensor::full({1}, o.mean));
  graph.initializer("preprocess.deviation", Tensor::full({1}, o.deviation));
  graph.node("Sub", {"image", "preprocess.mean"}, "preprocess.centred");
  graph.node("Div", {"preprocess.centred", "preprocess.deviation"}, "preprocess.normalised");
  if (o.channels == 1) return "preprocess.normalised";
  graph.node(
      "Concat",
      std::vector<std::string>(static_cast<std::size_t>(o.channels), "preprocess.normalised"),
      "preprocess.channels", {{"axis", std::int64_t{1}}});
  return "preprocess.channels";
}

}  // namespace

Exported export_model(const Model& model, const ExportOptions& o) {
  THORAX_CHECK(!model.training(), "[onnx] the model is in training mode: call eval() first");
  const NoGrad no_grad;
  const Tensor image = Tensor::zeros({1, o.height, o.width, o.channels});
  Trace trace;
  const Tensor logits = model.forward(Variable(image)).value();

  Graph graph(model.config().at("model").get<std::string>());
  const Axis batch{std::string("batch")};
  graph.input("image", std::vector<Axis>{batch, o.preprocess ? 1 : o.channels, o.height, o.width});
  Converter converter(graph, model);
  converter.bind(image, preprocessed(graph, o));
  for (const TracedOperation& operation : trace.operations()) converter.add(operation);

  std::vector<Axis> shape{batch, logits.size(-1)};
  if (logits.rank() == 4) shape.insert(shape.end(), {logits.size(1), logits.size(2)});
  graph.node("Identity", {converter.name_of(logits)}, "logits");
  if (o.activation == Activation::sigmoid) {
    graph.node("Sigmoid", {"logits"}, "probability");
  } else {
    graph.node("Softmax", {"logits"}, "probability", {{"axis", std::int64_t{1}}});
  }
  graph.output("logits", shape);
  graph.output("probability", shape);

  ProtoMessage file;
  file.integer(1, kIrVersion).text(2, "thorax").text(3, o.producer_version);
  file.message(7, graph.message());
  file.message(8, ProtoMessage().text(1, "").integer(2, kOpset));
  for (const auto& [key, value] : o.metadata)
    file.message(14, ProtoMessage().text(1, key).text(2, value));
  THORAX_CHECK(file.bytes().size() <= kMaxBytes,
               "[onnx] the file would have {} bytes; readers of protocol buffers take {}",
               file.bytes().size(), kMaxBytes);
  return {file.bytes(), graph.operators(), graph.weights()};
}

}  // namespace thorax::onnx
