#include "models/onnx/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "engine/autograd/variable.h"
#include "kernels/activation/activation.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/concat/concat.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"
#include "kernels/fuse_multires/fuse_multires.h"
#include "kernels/linear/linear.h"
#include "kernels/permute/permute.h"
#include "kernels/pool/pool.h"
#include "kernels/upsample/upsample.h"
#include "models/onnx/imported_network.h"
#include "models/onnx/node_reader.h"
#include "models/onnx/resize_target.h"

namespace thorax::onnx {
namespace {

class Builder {
 public:
  explicit Builder(const ParsedFile& file)
      : file_(file), network_(std::make_unique<ImportedNetwork>()), where_("[onnx] " + file.name) {
    for (std::size_t i = 0; i < file.nodes.size(); ++i) {
      for (const std::string& output : file.nodes[i].outputs) producer_[output] = i;
      for (const std::string& input : file.nodes[i].inputs) readers_[input].push_back(i);
    }
  }

  Imported build() {
    Imported out;
    THORAX_CHECK(file_.inputs.size() == 1 && file_.inputs[0].shape.size() == 4,
                 "{}: {} inputs; read are graphs of one image, N x C x H x W", where_,
                 file_.inputs.size());
    const GraphInput& input = file_.inputs[0];
    out.channels = input.shape[1];
    out.height = input.shape[2];
    out.width = input.shape[3];
    out.metadata = file_.metadata;
    const std::string first = skip_normalisation(input.name, out);
    THORAX_CHECK(out.channels > 0, "{}: the input's channels are open; one number is wanted",
                 where_);
    network_->channels = out.channels;
    network_->input = value(first);
    const std::string last = logits_name();
    THORAX_CHECK(last != first, "{}: the graph does nothing", where_);
    const std::vector<bool> wanted = needed_for(last);
    for (std::size_t i = 0; i < file_.nodes.size(); ++i)
      if (wanted[i] && !done_.contains(i)) add(i, last);
    const auto found = indices_.find(resolved(last));
    THORAX_CHECK(found != indices_.end(), "{}: nothing computes '{}' from the image", where_, last);
    network_->logits = found->second;
    network_->values = indices_.size();
    emit_in_order();
    network_->eval();
    out.model = std::move(network_);
    return out;
  }

 private:
  // ---- names and constants

  const std::string& resolved(const std::string& name) const {
    const auto alias = aliases_.find(name);
    return alias == aliases_.end() ? name : alias->second;
  }
  std::size_t value(const std::string& name) {
    return indices_.emplace(resolved(name), indices_.size()).first->second;
  }
  const Tensor& tensor(const std::string& name, const NodeReader& at) const {
    const auto found = file_.tensors.find(name);
    THORAX_CHECK(found != file_.tensors.end(),
                 "{}: '{}' is computed or no float; a constant of floats is wanted", at.where(),
                 name);
    return found->second;
  }
  Variable weight(const std::string& name, int rank, const NodeReader& at) {
    const auto known = weights_.find(name);
    if (known != weights_.end()) return known->second;
    const Tensor& stored = tensor(name, at);
    THORAX_CHECK(stored.rank() == rank, "{}: '{}' is {}; {} axes are wanted", at.where(), name,
                 stored.shape(), rank);
    const Tensor own = stored.rank() == 4 ? nchw_to_nhwc(stored) : stored.clone();
    return weights_.emplace(name, network_->parameter(name, own)).first->second;
  }
  Tensor statistics(const std::string& name, const NodeReader& at) {
    const auto known = statistics_.find(name);
    if (known != statistics_.end()) return known->second;
    return statistics_.emplace(name, network_->buffer(name, tensor(name, at).clone()))
        .first->second;
  }
  Variable optional_weight(const std::string& name, const NodeReader& at) {
    return name.empty() ? Variable() : weight(name, 1, at);
  }

  // ---- the ends of the graph

  // The single number of a constant.
  std::optional<double> number(const std::string& name) const {
    const auto found = file_.tensors.find(name);
    if (found == file_.tensors.end() || found->second.numel() != 1) return std::nullopt;
    return found->second.data<float>()[0];
  }
  const Node* only_reader(const std::string& name) const {
    const auto found = readers_.find(name);
    const bool output =
        std::find(file_.outputs.begin(), file_.outputs.end(), name) != file_.outputs.end();
    if (found == readers_.end() || output) return nullptr;
    // One node may read a value several times (Concat of gray to three channels).
    for (const std::size_t i : found->second)
      if (i != found->second.front()) return nullptr;
    return &file_.nodes[found->second.front()];
  }

  // Sub, Div and Concat at the beginning, as `thorax export` writes them; the value behind them.
  std::string skip_normalisation(const std::string& image, Imported& out) const {
    const Node* sub = only_reader(image);
    if (sub == nullptr || sub->type != "Sub" || sub->inputs.size() != 2 || sub->inputs[0] != image)
      return image;
    const Node* div = only_reader(sub->outputs[0]);
    if (div == nullptr || div->type != "Div" || div->inputs.size() != 2 ||
        div->inputs[0] != sub->outputs[0])
      return image;
    const auto mean = number(sub->inputs[1]), deviation = number(div->inputs[1]);
    if (!mean || !deviation || out.channels != 1) return image;
    out.normalises = true;
    out.mean = *mean;
    out.deviation = *deviation;
    std::string value = div->outputs[0];
    const Node* concat = only_reader(value);
    if (concat != nullptr && concat->type == "Concat" &&
        std::all_of(concat->inputs.begin(), concat->inputs.end(),
                    [&](const std::string& part) { return part == value; })) {
      out.channels = static_cast<std::int64_t>(concat->inputs.size());
      value = concat->outputs[0];
    }
    return value;
  }

  std::string logits_name() const {
    THORAX_CHECK(!file_.outputs.empty(), "{}: no output", where_);
    if (std::find(file_.outputs.begin(), file_.outputs.end(), "logits") != file_.outputs.end())
      return "logits";
    const std::string& first = file_.outputs.front();
    const auto found = producer_.find(first);
    if (found == producer_.end()) return first;
    const Node& last = file_.nodes[found->second];
    if ((last.type == "Sigmoid" || last.type == "Softmax") && last.inputs.size() == 1)
      return last.inputs[0];
    return first;
  }

  std::vector<bool> needed_for(const std::string& last) const {
    std::vector<bool> wanted(file_.nodes.size());
    std::vector<std::string> open{last};
    while (!open.empty()) {
      const auto found = producer_.find(open.back());
      open.pop_back();
      if (found == producer_.end() || wanted[found->second]) continue;
      wanted[found->second] = true;
      for (const std::string& input : file_.nodes[found->second].inputs)
        if (!indices_.contains(input)) open.push_back(input);
    }
    return wanted;
  }

  // ---- nodes

  // What stands behind a product: + residual, ReLU, each read by nothing else.
  struct Behind {
    std::string residual;  // empty: none
    bool relu = false;
    std::size_t end = 0;  // the node whose output is the result
  };
  Behind behind(std::size_t node, bool takes_residual, const std::string& last) {
    Behind b;
    b.end = node;
    const auto next = [&](const char* type) -> const Node* {
      const std::string& output = file_.nodes[b.end].outputs[0];
      const Node* reader = output == last ? nullptr : only_reader(output);
      return reader != nullptr && reader->type == type && reader->attributes.empty() ? reader
                                                                                     : nullptr;
    };
    const auto take = [&](const Node* reader) {
      b.end = static_cast<std::size_t>(reader - file_.nodes.data());
      done_.insert(b.end);
    };
    if (const Node* add = next("Add");
        takes_residual && add != nullptr && add->inputs.size() == 2) {
      const std::string& output = file_.nodes[b.end].outputs[0];
      const std::string& other = add->inputs[add->inputs[0] == output ? 1 : 0];
      const auto made = producer_.find(other);
      // Of two products that are added the later one takes the sum.
      if (other != output && !file_.tensors.contains(other) &&
          (made == producer_.end() || made->second < node)) {
        b.residual = other;
        take(add);
      }
    }
    if (const Node* relu = next("Relu"); relu != nullptr) {
      b.relu = true;
      take(relu);
    }
    return b;
  }

  // The step of a node takes the place of `end`, behind everything that it reads.
  void step(std::size_t end, const NodeReader& at, const std::vector<std::string>& inputs,
            std::function<Variable(const Values&)> compute) {
    Step s;
    s.compute = std::move(compute);
    s.where = at.where();
    for (const std::string& input : inputs) {
      THORAX_CHECK(!file_.tensors.contains(input) && !file_.integers.contains(input),
                   "{}: '{}' is a constant; a computed value is wanted", at.where(), input);
      s.inputs.push_back(value(input));
    }
    s.output = value(file_.nodes[end].outputs[0]);
    steps_[end] = std::move(s);
  }

  void add(std::size_t index, const std::string& last) {
    NodeReader at(file_, file_.nodes[index]);
    const std::string& type = at.node().type;
    at.one_output();
    if (type == "Conv") {
      conv(index, at, last);
    } else if (type == "ConvTranspose") {
      conv_transpose(index, at);
    } else if (type == "BatchNormalization") {
      batch_normalization(index, at, last);
    } else if (type == "Gemm") {
      gemm(index, at, last);
    } else if (type == "Add" || type == "Sum") {
      sum(index, at, last);
    } else if (type == "Concat") {
      concatenate(index, at);
    } else if (type == "MaxPool" || type == "AveragePool") {
      pool(index, at);
    } else if (type == "GlobalAveragePool") {
      unary(index, at, global_avg_pool);
    } else if (type == "Flatten" || type == "Reshape") {
      flatten(index, at);
    } else if (type == "Resize") {
      resize(index, at);
    } else if (type == "Relu") {
      unary(index, at, relu);
    } else if (type == "Sigmoid") {
      unary(index, at, sigmoid);
    } else if (type == "Identity" || type == "Dropout") {
      same(at);
    } else {
      fail("{}: this operator is not read (models/README.md lists those that are)", at.where());
    }
    at.finish();
  }

  void unary(std::size_t index, NodeReader& at, Variable (*function)(const Variable&)) {
    at.inputs_between(1, 1);
    step(index, at, {at.input(0)}, [function](const Values& v) { return function(v[0]); });
  }

  // The output is the input; a Dropout's other inputs matter in training only.
  void same(NodeReader& at) {
    at.inputs_between(1, at.node().type == "Dropout" ? 3 : 1);
    at.integer("seed", 0);
    const std::string from = resolved(at.input(0));
    aliases_[at.node().outputs[0]] = from;
  }

  // Filter and bias (or undefined) of a convolution.
  std::pair<Variable, Variable> filter_of(NodeReader& at) {
    at.inputs_between(2, 3);
    const Variable w = weight(at.input(1), 4, at), bias = optional_weight(at.input(2), at);
    at.only("auto_pad", "NOTSET");
    const Integers kernel{w.shape()[1], w.shape()[2]};
    THORAX_CHECK(at.integers("kernel_shape", kernel) == kernel,
                 "{}: kernel_shape is not the filter's", at.where());
    return {w, bias};
  }

  void conv(std::size_t index, NodeReader& at, const std::string& last) {
    const auto [w, bias] = filter_of(at);
    Conv2dOptions options{.stride = at.square("strides", 2, 1),
                          .padding = at.square("pads", 4, 0),
                          .dilation = at.square("dilations", 2, 1),
                          .groups = at.integer("group", 1)};
    const Behind b = behind(index, true, last);
    options.relu = b.relu;
    std::vector<std::string> inputs{at.input(0)};
    if (!b.residual.empty()) inputs.push_back(b.residual);
    step(b.end, at, inputs, [w = w, bias = bias, options](const Values& v) {
      Conv2dOptions all = options;
      if (v.size() > 1) all.residual = v[1].value();
      return conv2d(v[0], w, bias, all);
    });
  }

  void conv_transpose(std::size_t index, NodeReader& at) {
    const auto [w, bias] = filter_of(at);
    const ConvTranspose2dOptions options{.stride = at.square("strides", 2, 1),
                                         .padding = at.square("pads", 4, 0),
                                         .output_padding = at.square("output_padding", 2, 0),
                                         .dilation = at.square("dilations", 2, 1),
                                         .groups = at.integer("group", 1)};
    step(index, at, {at.input(0)}, [w = w, bias = bias, options](const Values& v) {
      return conv_transpose2d(v[0], w, bias, options);
    });
  }

  void batch_normalization(std::size_t index, NodeReader& at, const std::string& last) {
    at.inputs_between(5, 5);
    const Variable w = weight(at.input(1), 1, at), bias = weight(at.input(2), 1, at);
    BatchNormState state;
    state.epsilon = at.real("epsilon", 1e-5);
    state.running_mean = statistics(at.input(3), at);
    state.running_var = statistics(at.input(4), at);
    at.real("momentum", 0.9);  // of training
    at.only("training_mode", 0);
    const Behind b = behind(index, true, last);
    std::vector<std::string> inputs{at.input(0)};
    if (!b.residual.empty()) inputs.push_back(b.residual);
    const BatchNormOptions options{.training = false, .relu = b.relu};
    step(b.end, at, inputs, [w, bias, state, options](const Values& v) {
      return batch_norm(v[0], w, bias, state, options, v.size() > 1 ? v[1] : Variable());
    });
  }

  void gemm(std::size_t index, NodeReader& at, const std::string& last) {
    at.inputs_between(2, 3);
    THORAX_CHECK(at.real("alpha", 1) == 1 && at.real("beta", 1) == 1,
                 "{}: alpha and beta other than 1 are not read", at.where());
    at.only("transA", 0);
    Variable w;
    if (at.integer("transB", 0) != 0) {
      w = weight(at.input(1), 2, at);
    } else {
      const Tensor& stored = tensor(at.input(1), at);
      THORAX_CHECK(stored.rank() == 2, "{}: '{}' is {}; 2 axes are wanted", at.where(), at.input(1),
                   stored.shape());
      const std::int64_t rows = stored.size(0), columns = stored.size(1);
      const Tensor turned = Tensor::empty({columns, rows});
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < columns; ++c)
          turned.data<float>()[c * rows + r] = stored.data<float>()[r * columns + c];
      w = network_->parameter(at.input(1) + ".transposed", turned);
    }
    const Variable bias = optional_weight(at.input(2), at);
    const Behind b = behind(index, false, last);
    step(b.end, at, {at.input(0)},
         [w, bias, relu = b.relu](const Values& v) { return linear(v[0], w, bias, relu); });
  }

  void sum(std::size_t index, NodeReader& at, const std::string& last) {
    at.inputs_between(2, 4);
    const Behind b = behind(index, false, last);
    step(b.end, at, at.node().inputs,
         [relu = b.relu](const Values& v) { return fuse_multires(v, relu); });
  }

  void concatenate(std::size_t index, NodeReader& at) {
    at.inputs_between(1, 1 << 16);
    const std::int64_t axis = at.integer("axis", 1);
    THORAX_CHECK(axis == 1 || axis == -3, "{}: axis {}; channels (1) are read", at.where(), axis);
    step(index, at, at.node().inputs, [](const Values& v) { return concat(v); });
  }

  void pool(std::size_t index, NodeReader& at) {
    at.inputs_between(1, 1);
    const bool average = at.node().type == "AveragePool";
    PoolOptions options{.kernel = at.square("kernel_shape", 2, 0),
                        .stride = at.square("strides", 2, 1),
                        .padding = at.square("pads", 4, 0),
                        .ceil_mode = at.integer("ceil_mode", 0) != 0};
    THORAX_CHECK(options.kernel > 0 && options.stride > 0, "{}: kernel_shape {}, strides {}",
                 at.where(), options.kernel, options.stride);
    at.only("auto_pad", "NOTSET");
    if (average) {
      options.count_include_pad = at.integer("count_include_pad", 0) != 0;
      // Runtimes of ONNX divide a window that reaches beyond the padding differently.
      THORAX_CHECK(!options.ceil_mode || !options.count_include_pad,
                   "{}: ceil_mode with count_include_pad is not read", at.where());
    } else {
      at.only("storage_order", 0);
    }
    THORAX_CHECK(at.square("dilations", 2, 1) == 1, "{}: dilated windows are not read", at.where());
    step(index, at, {at.input(0)}, [options, average](const Values& v) {
      return average ? avg_pool2d(v[0], options) : max_pool2d(v[0], options);
    });
  }

  // N x C stays as it is; N x C x 1 x 1 becomes that. Larger maps would change their order.
  void flatten(std::size_t index, NodeReader& at) {
    if (at.node().type == "Flatten") {
      at.inputs_between(1, 1);
      at.only("axis", 1);
    } else {
      at.inputs_between(2, 2);
      at.only("allowzero", 0);
      const auto shape = file_.integers.find(at.input(1));
      THORAX_CHECK(shape != file_.integers.end() && shape->second.size() == 2 &&
                       (shape->second[0] == 0 || shape->second[0] == -1),
                   "{}: read is a change to N x C, shape [0, -1] or [-1, C]", at.where());
    }
    step(index, at, {at.input(0)}, [](const Values& v) {
      const Shape& shape = v[0].shape();
      if (shape.rank() == 2) return v[0];
      THORAX_CHECK(shape.rank() == 4 && shape[1] == 1 && shape[2] == 1,
                   "pooled features N x C x 1 x 1 are read; these are (N x H x W x C) {}", shape);
      return reshape(v[0], {shape[0], shape[3]});
    });
  }

  void resize(std::size_t index, NodeReader& at) {
    at.inputs_between(3, 4);
    const std::string mode = at.text("mode", "nearest");
    const std::string place = at.text("coordinate_transformation_mode", "half_pixel");
    at.only("exclude_outside", 0);
    at.only("antialias", 0);
    at.only("keep_aspect_ratio_policy", "stretch");
    at.real("cubic_coeff_a", -0.75);
    at.real("extrapolation_value", 0);
    const ResizeTarget target = resize_target(file_, at);
    if (mode == "nearest") {
      THORAX_CHECK(
          place == "asymmetric" && at.text("nearest_mode", "round_prefer_floor") == "floor",
          "{}: read is nearest with coordinates 'asymmetric' and nearest_mode 'floor'", at.where());
      step(index, at, {at.input(0)}, [target](const Values& v) {
        const Shape& x = v[0].shape();
        const auto [h, w] = target.of(x);
        const std::int64_t factor = x[1] > 0 ? h / x[1] : 0;
        THORAX_CHECK(factor > 0 && h == factor * x[1] && w == factor * x[2],
                     "nearest by one whole factor is read, not from {} x {} to {} x {}", x[1], x[2],
                     h, w);
        return upsample_nearest(v[0], factor);
      });
      return;
    }
    at.text("nearest_mode", "");
    // pytorch_half_pixel differs where the result is one pixel.
    THORAX_CHECK(mode == "linear" && (place == "half_pixel" || place == "align_corners" ||
                                      place == "pytorch_half_pixel"),
                 "{}: mode '{}' with coordinates '{}' is not read", at.where(), mode, place);
    step(index, at, {at.input(0)}, [target, place](const Values& v) {
      const auto [h, w] = target.of(v[0].shape());
      THORAX_CHECK(place != "pytorch_half_pixel" || (h > 1 && w > 1), "one pixel by '{}'", place);
      return upsample_bilinear(v[0], h, w, place == "align_corners");
    });
  }

  // ---- the result

  void emit_in_order() {
    std::vector<bool> used(network_->values);
    used[network_->logits] = true;
    for (auto& [end, step] : steps_) network_->steps.push_back(std::move(step));
    for (auto step = network_->steps.rbegin(); step != network_->steps.rend(); ++step) {
      for (const std::size_t i : step->inputs) {
        if (!used[i]) step->last_use.push_back(i);
        used[i] = true;
      }
    }
  }

  const ParsedFile& file_;
  std::unique_ptr<ImportedNetwork> network_;
  std::string where_;
  std::map<std::string, std::size_t> producer_;              // nodes
  std::map<std::string, std::vector<std::size_t>> readers_;  // nodes, one for each reading
  std::map<std::string, std::size_t> indices_;               // of values
  std::map<std::string, std::string> aliases_;               // what an Identity gives
  std::map<std::string, Variable> weights_;
  std::map<std::string, Tensor> statistics_;
  std::set<std::size_t> done_;         // nodes that an earlier one took in
  std::map<std::size_t, Step> steps_;  // by the node whose output they make
};

}  // namespace

Imported import_model(const ParsedFile& file) {
  return Builder(file).build();
}

Imported import_model(const std::filesystem::path& file) {
  return import_model(read_file(file));
}

}  // namespace thorax::onnx
