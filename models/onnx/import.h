// An ONNX file as a network of this engine, to compute with its kernels on any of its devices: the
// inverse of export.h, and for files of other programs that use the same operators.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "models/model.h"
#include "models/onnx/read.h"

namespace thorax::onnx {

struct Imported {
  // For inference: forward records no gradients. Its parameters and buffers have the names of the
  // file's initializers. config() names the model "onnx" and its input's channels; create_model
  // does not know it.
  std::unique_ptr<Model> model;
  // Where the graph itself begins with (x - mean) / deviation of one gray channel, repeated for the
  // network's input: that part is left out of `model`, whose input is what comes after it.
  bool normalises = false;
  double mean = 0, deviation = 1;
  std::int64_t channels = 1;             // of the input of `model`
  std::int64_t height = -1, width = -1;  // of the image; -1: any
  std::map<std::string, std::string> metadata;
};

// Reads float32 graphs of one image N x C x H x W whose result is logits: the output "logits" where
// there is one, else the first one; a Sigmoid or Softmax (over the channels) that ends it is left
// out, `logits` being what goes into it. Operators: Conv, ConvTranspose, BatchNormalization, Gemm,
// Relu, Add, Sum, Concat (channels), MaxPool, AveragePool, GlobalAveragePool, Flatten and Reshape
// of pooled features, Resize (nearest by whole numbers, linear), Identity, Dropout, Sigmoid. Conv,
// BatchNormalization, Gemm and sums take the addition and the ReLU behind them into one kernel.
// Throws Error "[onnx] FILE: node 'x' (Type): ..." for everything else, attributes included.
Imported import_model(const std::filesystem::path& file);
Imported import_model(const ParsedFile& file);

}  // namespace thorax::onnx
