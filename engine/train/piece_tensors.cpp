#include "engine/train/piece_tensors.h"

#include <algorithm>

namespace thorax {
namespace {

bool integers(const Tensor& tensor) {
  return tensor.dtype() == DType::i64;
}

template <class T>
std::span<T> elements(const Tensor& tensor) {
  return std::span(tensor.data<T>(), static_cast<std::size_t>(tensor.numel()));
}

Tensor on_cpu(const Tensor& tensor) {
  return tensor.to(Device{}).to_contiguous();
}

// A CPU tensor as doubles.
std::vector<double> numbers(const Tensor& tensor) {
  const Tensor all = tensor.to(DType::f64);
  return {elements<double>(all).begin(), elements<double>(all).end()};
}

}  // namespace

// In PieceSum::precise: the samples; of every parameter whether it has a gradient; gradients in
// f64; buffers.
PieceTensors::PieceTensors(const std::vector<Module::Named>& parameters,
                           std::vector<Module::NamedBuffer> buffers)
    : parameters_(parameters), buffers_(std::move(buffers)) {
  sizes_.precise = 1 + static_cast<std::int64_t>(parameters_.size());
  for (const Module::Named& parameter : parameters_) {
    const Tensor& value = parameter.variable.value();
    (value.dtype() == DType::f64 ? sizes_.precise : sizes_.single) += value.numel();
  }
  for (const Module::NamedBuffer& buffer : buffers_) {
    before_.push_back(on_cpu(buffer.tensor).clone());
    sizes_.precise += buffer.tensor.numel();
  }
}

void PieceTensors::begin() const {
  for (std::size_t i = 0; i < buffers_.size(); ++i) buffers_[i].tensor.copy_from(before_[i]);
}

PieceSum PieceTensors::take(double samples) const {
  PieceSum sum;
  sum.single.reserve(static_cast<std::size_t>(sizes_.single));
  sum.precise.reserve(static_cast<std::size_t>(sizes_.precise));
  sum.precise.push_back(samples);
  for (const Module::Named& parameter : parameters_)
    sum.precise.push_back(parameter.variable.grad().defined() ? 1 : 0);
  const auto append = [](auto& to, const auto& values) {
    to.insert(to.end(), values.begin(), values.end());
  };
  for (const Module::Named& parameter : parameters_) {
    const Tensor &value = parameter.variable.value(), &grad = parameter.variable.grad();
    const bool is_double = value.dtype() == DType::f64;
    if (!grad.defined()) {
      if (is_double)
        sum.precise.resize(sum.precise.size() + static_cast<std::size_t>(value.numel()));
      else
        sum.single.resize(sum.single.size() + static_cast<std::size_t>(value.numel()));
      continue;
    }
    const Tensor host = on_cpu(grad);
    if (is_double)
      append(sum.precise, elements<double>(host));
    else
      append(sum.single, elements<float>(host));
    parameter.variable.zero_grad();
  }
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    std::vector<double> values = numbers(on_cpu(buffers_[i].tensor));
    if (integers(before_[i])) {
      const std::vector<double> before = numbers(before_[i]);
      for (std::size_t k = 0; k < values.size(); ++k) values[k] -= before[k];
    } else {
      for (double& value : values) value *= samples;
    }
    append(sum.precise, values);
  }
  return sum;
}

void PieceTensors::put(const PieceSum& sum) const {
  const double samples = sum.precise[0];
  const double* has_gradient = sum.precise.data() + 1;
  const double* precise = has_gradient + parameters_.size();
  const float* single = sum.single.data();
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Variable& variable = parameters_[i].variable;
    const Tensor& value = variable.value();
    const bool is_double = value.dtype() == DType::f64;
    const auto count = static_cast<std::size_t>(value.numel());
    if (has_gradient[i] > 0)
      variable.set_grad((is_double ? Tensor::from(std::span(precise, count), value.shape())
                                   : Tensor::from(std::span(single, count), value.shape()))
                            .to(value.device()));
    (is_double ? precise += count : (single += count, precise));
  }
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const auto count = static_cast<std::size_t>(before_[i].numel());
    std::vector<double> values(precise, precise + count);
    precise += count;
    if (integers(before_[i])) {
      const std::vector<double> before = numbers(before_[i]);
      for (std::size_t k = 0; k < count; ++k) values[k] += before[k];
    } else {
      if (samples == 0) continue;
      for (double& value : values) value /= samples;
    }
    buffers_[i].tensor.copy_from(Tensor::from(values, before_[i].shape()).to(before_[i].dtype()));
  }
}

}  // namespace thorax
