#include "models/onnx/graph.h"

#include <string_view>

namespace thorax::onnx {
namespace {

// TensorProto.DataType
constexpr std::int64_t kFloat = 1, kInt64 = 7;
// AttributeProto.AttributeType
constexpr std::int64_t kAttributeFloat = 1, kAttributeInt = 2, kAttributeString = 3,
                       kAttributeInts = 7;

ProtoMessage value_info(const std::string& name, std::span<const Axis> shape) {
  ProtoMessage dims;
  for (const Axis& axis : shape) {
    ProtoMessage dim;
    if (const auto* extent = std::get_if<std::int64_t>(&axis)) {
      dim.integer(1, *extent);
    } else {
      dim.text(2, std::get<std::string>(axis));
    }
    dims.message(1, dim);
  }
  const ProtoMessage tensor = ProtoMessage().integer(1, kFloat).message(2, dims);
  return ProtoMessage().text(1, name).message(2, ProtoMessage().message(1, tensor));
}

ProtoMessage attribute(const std::string& name, const Attribute& value) {
  ProtoMessage m;
  m.text(1, name);
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    m.integer(3, *integer).integer(20, kAttributeInt);
  } else if (const auto* real = std::get_if<float>(&value)) {
    m.real(2, *real).integer(20, kAttributeFloat);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    m.text(4, *text).integer(20, kAttributeString);
  } else {
    m.integers(8, std::get<Integers>(value)).integer(20, kAttributeInts);
  }
  return m;
}

}  // namespace

void Graph::input(const std::string& name, std::span<const Axis> shape) {
  inputs_.push_back(value_info(name, shape));
}

void Graph::output(const std::string& name, std::span<const Axis> shape) {
  outputs_.push_back(value_info(name, shape));
}

void Graph::initializer(const std::string& name, const Tensor& value) {
  const std::string_view raw(reinterpret_cast<const char*>(value.data<float>()), value.bytes());
  initializers_.push_back(ProtoMessage()
                              .integers(1, value.shape().extents())
                              .integer(2, kFloat)
                              .text(8, name)
                              .text(9, raw));  // little endian, as the processor's
  weights_ += value.numel();
}

void Graph::initializer(const std::string& name, std::span<const std::int64_t> values) {
  const Integers shape{static_cast<std::int64_t>(values.size())};
  const std::string_view raw(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  initializers_.push_back(
      ProtoMessage().integers(1, shape).integer(2, kInt64).text(8, name).text(9, raw));
}

void Graph::node(const std::string& type, const std::vector<std::string>& inputs,
                 const std::string& output, const std::map<std::string, Attribute>& attributes) {
  ProtoMessage m;
  for (const std::string& input : inputs) m.text(1, input);
  m.text(2, output).text(3, output).text(4, type);
  for (const auto& [name, value] : attributes) m.message(5, attribute(name, value));
  nodes_.push_back(std::move(m));
  ++operators_[type];
}

ProtoMessage Graph::message() const {
  ProtoMessage m;
  for (const ProtoMessage& node : nodes_) m.message(1, node);
  m.text(2, name_);
  for (const ProtoMessage& initializer : initializers_) m.message(5, initializer);
  for (const ProtoMessage& input : inputs_) m.message(11, input);
  for (const ProtoMessage& output : outputs_) m.message(12, output);
  return m;
}

}  // namespace thorax::onnx
