// The parts of an ONNX graph under construction. Field numbers: onnx.proto of ONNX 1.12.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/io/protobuf.h"
#include "engine/tensor/tensor.h"

namespace thorax::onnx {

using Integers = std::vector<std::int64_t>;
using Attribute = std::variant<std::int64_t, float, std::string, Integers>;
// An axis: its extent, or the name of one that the caller chooses.
using Axis = std::variant<std::int64_t, std::string>;

class Graph {
 public:
  explicit Graph(std::string name) : name_(std::move(name)) {}

  void input(const std::string& name, std::span<const Axis> shape);
  void output(const std::string& name, std::span<const Axis> shape);
  // f32, contiguous, on the CPU, with the axes that ONNX wants.
  void initializer(const std::string& name, const Tensor& value);
  void initializer(const std::string& name, std::span<const std::int64_t> values);
  // Empty names are absent inputs. The result is called `output`.
  void node(const std::string& type, const std::vector<std::string>& inputs,
            const std::string& output, const std::map<std::string, Attribute>& attributes = {});

  ProtoMessage message() const;
  const std::map<std::string, std::int64_t>& operators() const { return operators_; }
  std::int64_t weights() const { return weights_; }

 private:
  std::string name_;
  std::vector<ProtoMessage> nodes_, initializers_, inputs_, outputs_;
  std::map<std::string, std::int64_t> operators_;
  std::int64_t weights_ = 0;
};

}  // namespace thorax::onnx
