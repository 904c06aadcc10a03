// A network as an ONNX file, for onnxruntime, OpenVINO, TensorRT and the other programs that read
// it. https://github.com/onnx/onnx/blob/main/docs/IR.md
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/model.h"

namespace thorax::onnx {

// What turns logits into probabilities, along the channels.
enum class Activation : std::uint8_t { sigmoid, softmax };

struct ExportOptions {
  std::int64_t channels = 1;  // of the network's input
  std::int64_t height = 0, width = 0;
  Activation activation = Activation::sigmoid;
  // The graph's input is one channel of pixels 0..1, and the graph does what is done to them before
  // the network: (x - mean) / deviation, repeated for each of its channels. Otherwise the graph's
  // input is the network's.
  bool preprocess = true;
  double mean = 0, deviation = 1;
  std::map<std::string, std::string> metadata = {};  // becomes metadata_props
  std::string producer_version = {};
};

inline constexpr std::int64_t kOpset = 17;     // of the default domain
inline constexpr std::int64_t kIrVersion = 8;  // what came with it

struct Exported {
  std::string bytes;                              // of the file
  std::map<std::string, std::int64_t> operators;  // nodes by type
  std::int64_t weights = 0;                       // values in the initializers
};

// The inference graph: one run of `model` is traced (engine/autograd/trace.h), so batch norm that
// the model folds into convolutions is folded in the file. Input "image" N x C x H x W, N dynamic;
// outputs "logits" and "probability", N x K or N x K x H x W. The model is on the CPU and in eval
// mode. Throws Error "[onnx] ..." for an operation that has no form here and for a graph beyond the
// 2 GiB of a protocol buffer.
Exported export_model(const Model& model, const ExportOptions& options);

}  // namespace thorax::onnx
