// The C++ side of hashfill.py: the same weights and inputs, bit for bit, without exchanging a file.
// The rules are in the head of hashfill.py.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/nn/module.h"

namespace thorax::hashfill {

inline std::uint64_t hash_name(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

inline std::uint64_t bits(std::uint64_t hash, std::int64_t index) {
  std::uint64_t z = hash + static_cast<std::uint64_t>(index) + 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

inline std::int64_t centred(std::uint64_t hash, std::int64_t index) {
  return static_cast<std::int64_t>(bits(hash, index) >> 40) - (std::int64_t{1} << 23);
}

// Shape of a rank-4 tensor in PyTorch's order, given its shape in memory.
inline Shape torch_shape(const Shape& s) {
  return s.rank() == 4 ? Shape{s[0], s[3], s[1], s[2]} : s;
}

// u(name, i) in PyTorch's order; `shape` is the shape in memory (NHWC, KRSC).
inline Tensor uniform(std::string_view name, const Shape& shape, double a) {
  const Tensor values = Tensor::empty(torch_shape(shape));
  const std::uint64_t hash = hash_name(name);
  const float scale = static_cast<float>(a / 8388608.0);
  for (std::int64_t i = 0; i < values.numel(); ++i)
    values.data<float>()[i] = static_cast<float>(centred(hash, i)) * scale;
  return shape.rank() == 4 ? nchw_to_nhwc(values) : values;
}

// batch_norm: the tensor belongs to a batch norm, that is, its module has a running_var.
inline void fill(const Tensor& tensor, const std::string& name, bool batch_norm) {
  const Shape& shape = tensor.shape();
  if (name.ends_with("num_batches_tracked") || name.ends_with("running_mean")) {
    tensor.fill(0);
  } else if (name.ends_with("running_var")) {
    tensor.fill(1);
  } else if (shape.rank() >= 2) {
    const std::int64_t fan_in = name.ends_with("up.weight") ? shape[0] : shape.numel() / shape[0];
    tensor.copy_from(uniform(name, shape, std::sqrt(6.0 / static_cast<double>(fan_in))));
  } else if (!batch_norm) {
    tensor.copy_from(uniform(name, shape, 0.125));
  } else {
    const bool gamma = name.ends_with(".weight");
    tensor.copy_from(uniform(name, shape, gamma ? 0.125 : 0.5));
    for (std::int64_t i = 0; i < tensor.numel(); ++i)
      tensor.data<float>()[i] += gamma ? 0.5f : 1.0f;
  }
}

// Every parameter and buffer.
inline void fill(const Module& module) {
  const StateDict state = module.state_dict();
  for (const auto& [name, tensor] : state)
    fill(tensor, name, state.contains(name.substr(0, name.rfind('.') + 1) + "running_var"));
  parameters_changed();
}

// A batch of images, N x H x W x C in memory, in [-1, 1).
inline Tensor input(const Shape& shape) {
  return uniform("input", shape, 1.0);
}

// 0 or 1 per pixel, N x H x W x C in memory.
inline Tensor mask(const Shape& shape) {
  const Tensor values = Tensor::empty(torch_shape(shape));
  const std::uint64_t hash = hash_name("target");
  for (std::int64_t i = 0; i < values.numel(); ++i)
    values.data<float>()[i] = centred(hash, i) >= 0 ? 1.0f : 0.0f;
  return nchw_to_nhwc(values);
}

// Class indices, int64.
inline Tensor classes(std::int64_t count, std::int64_t num_classes) {
  const Tensor values = Tensor::empty({count}, DType::i64);
  const std::uint64_t hash = hash_name("target");
  for (std::int64_t i = 0; i < count; ++i)
    values.data<std::int64_t>()[i] =
        static_cast<std::int64_t>(bits(hash, i) % static_cast<std::uint64_t>(num_classes));
  return values;
}

}  // namespace thorax::hashfill
