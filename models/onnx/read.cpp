#include "models/onnx/read.h"

#include <fmt/format.h>

#include <cstring>
#include <limits>
#include <set>

#include "engine/io/atomic_file.h"
#include "engine/io/protobuf_reader.h"

namespace thorax::onnx {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxBytes = (std::uint64_t{1} << 31) - 1;  // of a protocol buffer
// TensorProto.DataType and AttributeProto.AttributeType.
constexpr std::int64_t kFloat = 1, kInt64 = 7;
constexpr std::int64_t kFloatAttribute = 1, kIntAttribute = 2, kStringAttribute = 3,
                       kTensorAttribute = 4, kFloatsAttribute = 6, kIntsAttribute = 7;

class Parser {
 public:
  explicit Parser(const std::string& name) { file_.name = name; }

  ParsedFile parse(std::string_view bytes) {
    const std::string where = "[onnx] " + file_.name;
    ProtoReader reader(bytes, where);
    std::string_view graph;
    std::int64_t ir_version = 0;
    for (ProtoField field; reader.next(field);) {
      if (field.number == 1) ir_version = field.integer();
      if (field.number == 2) file_.producer = field.bytes;
      if (field.number == 7) graph = field.bytes;
      if (field.number == 8) opset(field.bytes);
      if (field.number == 14) metadata(field.bytes);
    }
    THORAX_CHECK(ir_version > 0 && graph.data() != nullptr,
                 "{}: no graph and no version of ONNX's format: not an ONNX file", where);
    // From 13 on the operators read here mean what they mean today (Softmax and the axes of others
    // changed there).
    THORAX_CHECK(file_.opset >= 13 && file_.opset <= 24,
                 "{}: operator set {}; read are 13 to 24: export it with one of these", where,
                 file_.opset);
    read_graph(graph, where);
    check_values(where);
    return std::move(file_);
  }

 private:
  void opset(std::string_view bytes) {
    ProtoReader reader(bytes, "[onnx] " + file_.name + ": operator set");
    std::string domain;
    std::int64_t version = 0;
    for (ProtoField field; reader.next(field);) {
      if (field.number == 1) domain = field.bytes;
      if (field.number == 2) version = field.integer();
    }
    if (domain.empty() || domain == "ai.onnx") file_.opset = version;
  }

  void metadata(std::string_view bytes) {
    ProtoReader reader(bytes, "[onnx] " + file_.name + ": metadata");
    std::string key, value;
    for (ProtoField field; reader.next(field);) {
      if (field.number == 1) key = field.bytes;
      if (field.number == 2) value = field.bytes;
    }
    file_.metadata[key] = value;
  }

  void read_graph(std::string_view bytes, const std::string& where) {
    ProtoReader reader(bytes, where + ": graph");
    std::vector<GraphInput> inputs;
    for (ProtoField field; reader.next(field);) {
      if (field.number == 1) read_node(field.bytes);
      if (field.number == 5) constant({}, field.bytes, where + ": initializer");
      if (field.number == 11) inputs.push_back(value_info(field.bytes));
      if (field.number == 12) file_.outputs.push_back(value_info(field.bytes).name);
      THORAX_CHECK(field.number != 15, "{}: sparse initializers are not read", where);
    }
    // Older files name initializers among the inputs, too.
    for (GraphInput& input : inputs)
      if (!file_.tensors.contains(input.name) && !file_.integers.contains(input.name))
        file_.inputs.push_back(std::move(input));
  }

  GraphInput value_info(std::string_view bytes) {
    const std::string where = "[onnx] " + file_.name + ": input or output";
    ProtoReader reader(bytes, where);
    GraphInput value;
    std::string_view shape;
    for (ProtoField field; reader.next(field);) {
      if (field.number == 1) value.name = field.bytes;
      if (field.number != 2) continue;
      ProtoReader type(field.bytes, where);
      for (ProtoField kind; type.next(kind);) {
        if (kind.number != 1) continue;  // a tensor
        ProtoReader tensor(kind.bytes, where);
        for (ProtoField part; tensor.next(part);)
          if (part.number == 2) shape = part.bytes;
      }
    }
    ProtoReader axes(shape, where);
    for (ProtoField axis; axes.next(axis);) {
      if (axis.number != 1) continue;
      std::int64_t extent = -1;
      ProtoReader dimension(axis.bytes, where);
      for (ProtoField part; dimension.next(part);)
        if (part.number == 1) extent = part.integer();
      value.shape.push_back(extent > 0 ? extent : -1);
    }
    return value;
  }

  void read_node(std::string_view bytes) {
    const std::string where = fmt::format("[onnx] {}: node {}", file_.name, file_.nodes.size());
    ProtoReader reader(bytes, where);
    Node node;
    std::string domain;
    std::vector<std::string_view> attributes;
    for (ProtoField field; reader.next(field);) {
      if (field.number == 1) node.inputs.emplace_back(field.bytes);
      if (field.number == 2) node.outputs.emplace_back(field.bytes);
      if (field.number == 3) node.name = field.bytes;
      if (field.number == 4) node.type = field.bytes;
      if (field.number == 5) attributes.push_back(field.bytes);
      if (field.number == 7) domain = field.bytes;
    }
    THORAX_CHECK(domain.empty() || domain == "ai.onnx",
                 "{}: operator '{}' of domain '{}'; only ONNX's own operators are read", where,
                 node.type, domain);
    THORAX_CHECK(!node.outputs.empty() && !node.outputs.front().empty(), "{}: '{}' has no output",
                 where, node.type);
    if (node.name.empty()) node.name = node.outputs.front();
    const std::string named = fmt::format("{} ('{}', {})", where, node.name, node.type);
    if (node.type == "Constant") return read_constant(node, attributes, named);
    for (const std::string_view attribute : attributes) read_attribute(attribute, node, named);
    file_.nodes.push_back(std::move(node));
  }

  struct RawAttribute {
    std::string name;
    std::int64_t type = 0, integer = 0;
    float real = 0;
    std::string_view text, tensor;
    Integers integers;
    std::vector<float> reals;
  };
  static RawAttribute raw(std::string_view bytes, const std::string& where) {
    ProtoReader reader(bytes, where);
    RawAttribute a;
    for (ProtoField field; reader.next(field);) {
      if (field.number == 1) a.name = field.bytes;
      if (field.number == 2) a.real = field.real();
      if (field.number == 3) a.integer = field.integer();
      if (field.number == 4) a.text = field.bytes;
      if (field.number == 5) a.tensor = field.bytes;
      if (field.number == 7) reader.reals(field, a.reals);
      if (field.number == 8) reader.integers(field, a.integers);
      if (field.number == 20) a.type = field.integer();
    }
    return a;
  }

  static void read_attribute(std::string_view bytes, Node& node, const std::string& where) {
    const RawAttribute a = raw(bytes, where);
    switch (a.type) {
      case kFloatAttribute:
        node.attributes[a.name] = a.real;
        return;
      case kIntAttribute:
        node.attributes[a.name] = a.integer;
        return;
      case kStringAttribute:
        node.attributes[a.name] = std::string(a.text);
        return;
      case kIntsAttribute:
        node.attributes[a.name] = a.integers;
        return;
      default:
        fail("{}: attribute '{}' of type {}: graphs, tensors and lists of floats are not read",
             where, a.name, a.type);
    }
  }

  void read_constant(const Node& node, const std::vector<std::string_view>& attributes,
                     const std::string& where) {
    THORAX_CHECK(attributes.size() == 1, "{}: {} attributes, wanted is one", where,
                 attributes.size());
    const RawAttribute a = raw(attributes.front(), where);
    const std::string& name = node.outputs.front();
    if (a.type == kTensorAttribute) return constant(name, a.tensor, where);
    if (a.type == kFloatsAttribute || a.type == kFloatAttribute) {
      const std::vector<float> values =
          a.type == kFloatAttribute ? std::vector<float>{a.real} : a.reals;
      const Tensor tensor = Tensor::empty({static_cast<std::int64_t>(values.size())});
      if (!values.empty())
        std::memcpy(tensor.data<float>(), values.data(), values.size() * sizeof(float));
      return add(name, tensor, where);
    }
    THORAX_CHECK(a.type == kIntsAttribute || a.type == kIntAttribute,
                 "{}: a constant of attribute type {} is not read", where, a.type);
    add(name, a.type == kIntAttribute ? Integers{a.integer} : a.integers, where);
  }

  // A TensorProto; `name` empty: its own.
  void constant(std::string name, std::string_view bytes, std::string where) {
    ProtoReader reader(bytes, where);
    Integers shape, integers;
    std::vector<float> reals;
    std::string_view raw;
    std::int64_t type = 0;
    bool outside = false;
    for (ProtoField field; reader.next(field);) {
      if (field.number == 1) reader.integers(field, shape);
      if (field.number == 2) type = field.integer();
      if (field.number == 4) reader.reals(field, reals);
      if (field.number == 7) reader.integers(field, integers);
      if (field.number == 8 && name.empty()) name = field.bytes;
      if (field.number == 9) raw = field.bytes;
      if (field.number == 13 || (field.number == 14 && field.value == 1)) outside = true;
    }
    where = fmt::format("{} '{}'", where, name);
    THORAX_CHECK(!outside, "{}: its values lie in another file: save the model as one file", where);
    THORAX_CHECK(type == kFloat || type == kInt64,
                 "{}: of type {}; float32 (1) and int64 (7) are read", where, type);
    const std::size_t size = type == kFloat ? sizeof(float) : sizeof(std::int64_t);
    const std::size_t listed = type == kFloat ? reals.size() : integers.size();
    const std::size_t given = raw.empty() ? listed : raw.size() / size;
    std::size_t count = 1;
    for (const std::int64_t extent : shape) {
      THORAX_CHECK(
          extent >= 0 && (extent == 0 || count <= kMaxBytes / static_cast<std::size_t>(extent)),
          "{}: extent {} of its shape", where, extent);
      count *= static_cast<std::size_t>(extent);
    }
    THORAX_CHECK(count == given && (raw.empty() || raw.size() % size == 0),
                 "{}: shape [{}] has {} values, the file {}", where, fmt::join(shape, ", "), count,
                 given);
    if (type == kInt64) {
      if (!raw.empty()) {
        integers.resize(count);
        std::memcpy(integers.data(), raw.data(), raw.size());  // little endian, as the processor
      }
      return add(name, std::move(integers), where);
    }
    THORAX_CHECK(shape.size() <= 4, "{}: {} axes; up to 4 are read", where, shape.size());
    if (shape.empty()) shape = {1};
    const Tensor tensor = Tensor::empty(Shape(shape));
    const void* values = raw.empty() ? static_cast<const void*>(reals.data()) : raw.data();
    if (count > 0) std::memcpy(tensor.data<float>(), values, count * sizeof(float));
    add(name, tensor, where);
  }

  void add(const std::string& name, const Tensor& value, const std::string& where) {
    THORAX_CHECK(!file_.integers.contains(name) && file_.tensors.emplace(name, value).second,
                 "{}: '{}' is there twice", where, name);
  }
  void add(const std::string& name, Integers value, const std::string& where) {
    THORAX_CHECK(!file_.tensors.contains(name) && file_.integers.emplace(name, value).second,
                 "{}: '{}' is there twice", where, name);
  }

  // One producer for each value, before its readers.
  void check_values(const std::string& where) const {
    std::set<std::string> known{""};
    for (const auto& [name, tensor] : file_.tensors) known.insert(name);
    for (const auto& [name, values] : file_.integers) known.insert(name);
    for (const GraphInput& input : file_.inputs)
      THORAX_CHECK(known.insert(input.name).second, "{}: two values are called '{}'", where,
                   input.name);
    for (const Node& node : file_.nodes) {
      for (const std::string& input : node.inputs)
        THORAX_CHECK(known.contains(input),
                     "{}: node '{}' ({}) reads '{}', which nothing before it makes", where,
                     node.name, node.type, input);
      for (const std::string& output : node.outputs)
        THORAX_CHECK(output.empty() || known.insert(output).second,
                     "{}: two values are called '{}'", where, output);
    }
    for (const std::string& output : file_.outputs)
      THORAX_CHECK(!output.empty() && known.contains(output), "{}: nothing makes the output '{}'",
                   where, output);
  }

  ParsedFile file_;
};

}  // namespace

ParsedFile parse_file(std::string_view bytes, const std::string& name) {
  return Parser(name).parse(bytes);
}

ParsedFile read_file(const fs::path& file) {
  return parse_file(thorax::read_file(file, kMaxBytes), file.string());
}

}  // namespace thorax::onnx
