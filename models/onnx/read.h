// An ONNX file as a list of nodes and constants. import.h makes a network of it.
// https://github.com/onnx/onnx/blob/main/docs/IR.md; field numbers: onnx.proto of ONNX 1.12.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "models/onnx/graph.h"

namespace thorax::onnx {

struct Node {
  std::string type, name;
  std::vector<std::string> inputs, outputs;  // an empty name is an absent input
  std::map<std::string, Attribute> attributes;
};

struct GraphInput {
  std::string name;
  Integers shape;  // -1: chosen by the caller
};

struct ParsedFile {
  std::string name;  // of the file, for messages
  std::string producer;
  std::int64_t opset = 0;                    // of the default domain
  std::vector<Node> nodes;                   // each after those that make its inputs
  std::map<std::string, Tensor> tensors;     // float initializers, as stored: K x C x R x S
  std::map<std::string, Integers> integers;  // int64 initializers
  std::vector<GraphInput> inputs;            // initializers left out
  std::vector<std::string> outputs;
  std::map<std::string, std::string> metadata;
};

// Throws Error "[onnx] FILE: ..." for what is damaged or no ONNX file, for nodes of other domains,
// values without or with two producers, cycles, subgraphs, and constants of other types than
// float32 and int64 or in files beside this one. Constant nodes become initializers.
ParsedFile read_file(const std::filesystem::path& file);
ParsedFile parse_file(std::string_view bytes, const std::string& name);

}  // namespace thorax::onnx
