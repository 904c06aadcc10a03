// What an importer asks a node for: each attribute is asked for, or refused.
#pragma once

#include <fmt/format.h>

#include <set>
#include <string>

#include "engine/tensor/error.h"
#include "models/onnx/read.h"

namespace thorax::onnx {

class NodeReader {
 public:
  NodeReader(const ParsedFile& file, const Node& node)
      : node_(node),
        where_(fmt::format("[onnx] {}: node '{}' ({})", file.name, node.name, node.type)) {}

  const Node& node() const { return node_; }
  const std::string& where() const { return where_; }

  // The name of an input; empty where it is absent.
  const std::string& input(std::size_t index) const {
    static const std::string absent;
    return index < node_.inputs.size() ? node_.inputs[index] : absent;
  }
  void inputs_between(std::size_t least, std::size_t most) const {
    THORAX_CHECK(node_.inputs.size() >= least && node_.inputs.size() <= most,
                 "{}: {} inputs; read are {} to {}", where_, node_.inputs.size(), least, most);
  }
  void one_output() const {
    for (std::size_t i = 1; i < node_.outputs.size(); ++i)
      THORAX_CHECK(node_.outputs[i].empty(), "{}: its output {} '{}' is not computed here", where_,
                   i, node_.outputs[i]);
  }

  std::int64_t integer(const std::string& name, std::int64_t fallback) {
    const Attribute* value = find(name);
    if (value == nullptr) return fallback;
    const auto* integer = std::get_if<std::int64_t>(value);
    THORAX_CHECK(integer != nullptr, "{}: attribute '{}' is no integer", where_, name);
    return *integer;
  }
  double real(const std::string& name, double fallback) {
    const Attribute* value = find(name);
    if (value == nullptr) return fallback;
    const auto* real = std::get_if<float>(value);
    THORAX_CHECK(real != nullptr, "{}: attribute '{}' is no float", where_, name);
    return *real;
  }
  std::string text(const std::string& name, const std::string& fallback) {
    const Attribute* value = find(name);
    if (value == nullptr) return fallback;
    const auto* text = std::get_if<std::string>(value);
    THORAX_CHECK(text != nullptr, "{}: attribute '{}' is no text", where_, name);
    return *text;
  }
  Integers integers(const std::string& name, const Integers& fallback) {
    const Attribute* value = find(name);
    if (value == nullptr) return fallback;
    const auto* integers = std::get_if<Integers>(value);
    THORAX_CHECK(integers != nullptr, "{}: attribute '{}' is no list of integers", where_, name);
    return *integers;
  }
  // One number for all axes (and sides): windows and strides here are square.
  std::int64_t square(const std::string& name, std::size_t count, std::int64_t fallback) {
    const Integers values = integers(name, Integers(count, fallback));
    THORAX_CHECK(values.size() == count && std::set(values.begin(), values.end()).size() == 1,
                 "{}: attribute '{}' is [{}]; read are {} equal numbers", where_, name,
                 fmt::join(values, ", "), count);
    THORAX_CHECK(values.front() >= 0 && values.front() <= 4096, "{}: attribute '{}' is {}", where_,
                 name, values.front());
    return values.front();
  }
  // An attribute that may be there with this value only.
  void only(const std::string& name, std::int64_t value) {
    const std::int64_t given = integer(name, value);
    THORAX_CHECK(given == value, "{}: attribute '{}' is {}; read is {}", where_, name, given,
                 value);
  }
  void only(const std::string& name, const std::string& value) {
    const std::string given = text(name, value);
    THORAX_CHECK(given == value, "{}: attribute '{}' is '{}'; read is '{}'", where_, name, given,
                 value);
  }
  // Attributes that nobody asked for would change the result.
  void finish() const {
    for (const auto& [name, value] : node_.attributes)
      THORAX_CHECK(asked_.contains(name), "{}: attribute '{}' is not read", where_, name);
  }

 private:
  const Attribute* find(const std::string& name) {
    asked_.insert(name);
    const auto found = node_.attributes.find(name);
    return found == node_.attributes.end() ? nullptr : &found->second;
  }

  const Node& node_;
  std::string where_;
  std::set<std::string> asked_;
};

}  // namespace thorax::onnx
