#include "models/layers.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/autograd/recompute.h"
#include "engine/nn/init.h"
#include "engine/runtime/graph.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"
#include "kernels/linear/linear.h"
#include "models/activations.h"

namespace thorax {
namespace {

thread_local double norm_momentum = -1;  // < 0: each layer its own
thread_local bool folding_forbidden = false;
thread_local std::int64_t weights_left = -1;  // < 0: as many as one likes

// The starting values of layers (layers.h, initialise), which a layer that no network initialises
// draws itself.
void before_relu(const Tensor& weight, std::uint64_t seed, const std::string& name) {
  init_kaiming_normal(weight, seed, name);
}
// With stride = kernel each output has `in` terms, and no ReLU follows.
void of_transposed(const Tensor& weight, std::uint64_t seed, const std::string& name) {
  init_normal(weight, std::sqrt(1.0 / static_cast<double>(weight.size(0))), seed, name);
}

// Takes a parameter's share of the budget before its memory.
Shape counted(const Shape& shape) {
  if (weights_left < 0) return shape;
  THORAX_CHECK(shape.numel() <= weights_left,
               "[model] the network is described as larger than the file that holds its weights");
  weights_left -= shape.numel();
  return shape;
}

std::uint64_t mix(std::uint64_t hash, const Tensor& values) {
  return XXH3_64bits_withSeed(values.raw(), values.bytes(), hash);
}

}  // namespace

Conv2d::Conv2d(const ConvSpec& spec)
    : spec_(spec),
      weight(add_parameter("weight", counted({spec.out, spec.kernel, spec.kernel, spec.in}),
                           before_relu)),
      bias(spec.bias ? add_parameter("bias", Tensor::zeros({spec.out})) : Variable()) {}

Variable Conv2d::operator()(const Variable& x, bool relu, const Tensor& out,
                            ChannelParts* statistics) const {
  ready();
  return conv2d(x, weight, bias,
                {.stride = spec_.stride,
                 .padding = spec_.padding,
                 .relu = relu,
                 .out = out,
                 .statistics = statistics});
}

ConvTranspose2d::ConvTranspose2d(std::int64_t in, std::int64_t out, std::int64_t kernel)
    : kernel_(kernel),
      weight(add_parameter("weight", counted({in, kernel, kernel, out}), of_transposed)),
      bias(add_parameter("bias", Tensor::zeros({out}))) {}

Variable ConvTranspose2d::operator()(const Variable& x, const Tensor& out) const {
  ready();
  return conv_transpose2d(x, weight, bias, {.stride = kernel_, .out = out});
}

BatchNorm2d::BatchNorm2d(std::int64_t channels, double momentum, double epsilon)
    : momentum_(momentum),
      epsilon_(epsilon),
      weight(add_parameter("weight", Tensor::full(counted({channels}), 1))),
      bias(add_parameter("bias", Tensor::zeros({channels}))),
      running_mean(add_buffer("running_mean", Tensor::zeros({channels}))),
      running_var(add_buffer("running_var", Tensor::full({channels}, 1))),
      num_batches_tracked(
          add_host_buffer("num_batches_tracked", Tensor::zeros(Shape{}, DType::i64))) {}

Variable BatchNorm2d::operator()(const Variable& x, bool relu, const Variable& residual,
                                 const Tensor& out, const ChannelParts& statistics) const {
  ready();
  const bool measuring = norm_momentum >= 0;
  const bool by_batch = uses_batch_statistics();
  if (by_batch && !recomputing() && !measuring)
    at_replay([count = num_batches_tracked] { ++*count.data<std::int64_t>(); });
  return batch_norm(x, weight, bias,
                    {.running_mean = running_mean,
                     .running_var = running_var,
                     .momentum = measuring ? norm_momentum : momentum_,
                     .epsilon = epsilon_},
                    {.training = by_batch, .relu = relu, .out = out, .statistics = statistics},
                    residual);
}

Linear::Linear(std::int64_t in, std::int64_t out)
    : weight(add_parameter("weight", counted({out, in}), before_relu)),
      bias(add_parameter("bias", Tensor::zeros({out}))) {}

Variable Linear::operator()(const Variable& x, bool relu) const {
  ready();
  return linear(x, weight, bias, relu);
}

WeightBudget::WeightBudget(std::int64_t weights) : previous_(weights_left) {
  weights_left = weights;
}
WeightBudget::~WeightBudget() {
  weights_left = previous_;
}

NormMomentum::NormMomentum(double momentum) : previous_(norm_momentum) {
  norm_momentum = momentum;
}
NormMomentum::~NormMomentum() {
  norm_momentum = previous_;
}

NoFolding::NoFolding() : previous_(folding_forbidden) {
  folding_forbidden = true;
}
NoFolding::~NoFolding() {
  folding_forbidden = previous_;
}

Variable ConvBn::operator()(const Variable& x, bool relu, const Variable& residual) const {
  if (bn.training() || grad_enabled() || folding_forbidden) {
    if (bn.training()) {
      const std::lock_guard lock(mutex_);
      folded_ = nullptr;  // a training run has no use for the memory
    }
    if (!bn.uses_batch_statistics() || !batch_norm_takes_parts(x.value().device().kind))
      return bn(conv(x), relu, residual);
    ChannelParts statistics;
    const Variable y = conv(x, false, {}, &statistics);
    return bn(y, relu, residual, {}, statistics);
  }
  const std::shared_ptr<const Folded> filter = folded();
  return conv2d(x, filter->weight, filter->bias,
                {.stride = conv.spec().stride,
                 .padding = conv.spec().padding,
                 .relu = relu,
                 .residual = residual.defined() ? residual.value() : Tensor{}});
}

// All of the batch norm and a sample of the filter: any optimizer step, averaging or loading
// changes these, whether or not it announced itself through parameters_changed(). On a GPU looking
// would cost more than the convolution; there only what is announced counts.
std::uint64_t ConvBn::fingerprint() const {
  std::uint64_t hash = 0;
  if (conv.weight.value().device() != Device{}) return hash;
  for (const Tensor* values :
       {&bn.weight.value(), &bn.bias.value(), &bn.running_mean, &bn.running_var})
    hash = mix(hash, *values);
  if (conv.bias.defined()) hash = mix(hash, conv.bias.value());
  const Tensor& weight = conv.weight.value();
  std::array<float, 64> sample{};
  const std::int64_t step = std::max<std::int64_t>(1, weight.numel() / 64);
  for (std::int64_t i = 0; i < 64 && i * step < weight.numel(); ++i)
    sample[static_cast<std::size_t>(i)] = weight.data<float>()[i * step];
  return XXH3_64bits_withSeed(sample.data(), sizeof(sample), hash);
}

std::shared_ptr<const ConvBn::Folded> ConvBn::folded() const {
  const std::lock_guard lock(mutex_);
  conv.prepare();
  const std::uint64_t version = parameter_version(), print = fingerprint();
  if (folded_ && folded_->version == version && folded_->fingerprint == print) return folded_;
  // Folded on the host: once for many images, and with the same bits for every device.
  const auto host = [](const Tensor& t) { return t.to(Device{}); };
  const Tensor weight = host(conv.weight.value());
  const Tensor gamma = host(bn.weight.value()), beta = host(bn.bias.value());
  const Tensor mean = host(bn.running_mean), variance = host(bn.running_var);
  const Tensor conv_bias = conv.bias.defined() ? host(conv.bias.value()) : Tensor{};
  const std::int64_t channels = weight.size(0), per_channel = weight.numel() / channels;
  const Tensor scaled = Tensor::empty(weight.shape()), shift = Tensor::empty({channels});
  for (std::int64_t k = 0; k < channels; ++k) {
    const auto at = [k](const Tensor& t) { return static_cast<double>(t.data<float>()[k]); };
    const double scale = at(gamma) / std::sqrt(at(variance) + bn.epsilon());
    const double bias = conv_bias.defined() ? at(conv_bias) : 0.0;
    shift.data<float>()[k] = static_cast<float>(at(beta) + scale * (bias - at(mean)));
    const float* from = weight.data<float>() + k * per_channel;
    float* to = scaled.data<float>() + k * per_channel;
    for (std::int64_t i = 0; i < per_channel; ++i)
      to[i] = static_cast<float>(scale * static_cast<double>(from[i]));
  }
  auto fresh = std::make_shared<Folded>();
  fresh->version = version;
  fresh->fingerprint = print;
  const Device device = conv.weight.value().device();
  fresh->weight = Variable(scaled.to(device));
  fresh->bias = Variable(shift.to(device));
  folded_ = fresh;
  return folded_;
}

Variable run_block(bool forget, const std::function<Variable(const std::vector<Variable>&)>& block,
                   const std::vector<Variable>& inputs) {
  if (!forget || !grad_enabled() || activations_wanted()) return block(inputs);
  return recompute(
      [block](const std::vector<Variable>& again) {
        const NoFolding same_bits;
        return block(again);
      },
      inputs);
}

void initialise(const Module& module, std::uint64_t seed, bool fan_out,
                const std::vector<std::string>& small) {
  module.mark_initialised();
  for (const Module::Named& parameter : module.parameters()) {
    const Tensor& value = parameter.variable.value();
    if (value.rank() == 1) {
      value.fill(parameter.name.ends_with("weight") ? 1 : 0);
    } else if (std::find(small.begin(), small.end(), parameter.name) != small.end()) {
      init_normal(value, 0.01, seed, parameter.name);
    } else if (parameter.name.ends_with("up.weight")) {
      of_transposed(value, seed, parameter.name);
    } else {
      init_kaiming_normal(value, seed, parameter.name, fan_out);
    }
  }
  for (const Module::NamedBuffer& buffer : module.buffers())
    buffer.tensor.fill(buffer.name.ends_with("running_var") ? 1 : 0);
  parameters_changed();
}

}  // namespace thorax
