#include "engine/optim/weight_average.h"

#include <algorithm>
#include <array>

#include "engine/runtime/parallel.h"

namespace thorax {
namespace {

std::array<AverageKernel, 3>& kernels() {
  static std::array<AverageKernel, 3> instance{};
  return instance;
}

constexpr std::int64_t kGrain = 1 << 15;  // elements per chunk

template <class T>
void average_as(const AveragePair& pair, double keep) {
  T* average = pair.average.data<T>();
  const T* weight = pair.weight.data<T>();
  const double fresh = 1 - keep;
  parallel_for(0, pair.weight.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      average[i] = static_cast<T>(keep * static_cast<double>(average[i]) +
                                  fresh * static_cast<double>(weight[i]));
  });
}

[[maybe_unused]] const bool registered = [] {
  register_average_kernel(DeviceKind::cpu, [](const std::vector<AveragePair>& pairs, double keep) {
    for (const AveragePair& pair : pairs)
      pair.weight.dtype() == DType::f64 ? average_as<double>(pair, keep)
                                        : average_as<float>(pair, keep);
  });
  return true;
}();

}  // namespace

void register_average_kernel(DeviceKind kind, AverageKernel kernel) {
  kernels()[static_cast<std::size_t>(kind)] = kernel;
}

WeightAverage::WeightAverage(std::vector<Module::Named> parameters, double decay)
    : parameters_(std::move(parameters)), decay_(decay) {
  THORAX_CHECK(decay > 0 && decay < 1, "[average] a decay of {}: it must be above 0 and below 1",
               decay);
  for (const Module::Named& parameter : parameters_)
    averages_.push_back(parameter.variable.value().clone());
}

void WeightAverage::update() {
  if (parameters_.empty()) return;
  ++updates_;
  const auto n = static_cast<double>(updates_);
  std::vector<AveragePair> pairs;
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    pairs.push_back({averages_[i], parameters_[i].variable.value()});
  const DeviceKind kind = averages_.front().device().kind;
  const AverageKernel kernel = kernels()[static_cast<std::size_t>(kind)];
  THORAX_CHECK(kernel != nullptr, "[average] {}: this build has no kernels for it",
               to_string(averages_.front().device()));
  kernel(pairs, std::min(decay_, (1 + n) / (10 + n)));
}

void WeightAverage::exchange() const {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& weight = parameters_[i].variable.value();
    const Tensor before = weight.clone();
    weight.copy_from(averages_[i]);
    averages_[i].copy_from(before);
  }
  parameters_changed();
}

StateDict WeightAverage::averages() const {
  StateDict dict;
  for (std::size_t i = 0; i < parameters_.size(); ++i) dict[parameters_[i].name] = averages_[i];
  return dict;
}

StateDict WeightAverage::weights() const {
  StateDict dict;
  for (const Module::Named& parameter : parameters_)
    dict[parameter.name] = parameter.variable.value();
  return dict;
}

void WeightAverage::restore(const StateDict& averages, const StateDict& weights,
                            std::int64_t updates) {
  for (const Module::Named& parameter : parameters_)
    for (const StateDict* dict : {&averages, &weights}) {
      const auto found = dict->find(parameter.name);
      THORAX_CHECK(
          found != dict->end() && found->second.shape() == parameter.variable.value().shape(),
          "[average] '{}' is missing among the {} weights, or has another shape", parameter.name,
          dict == &averages ? "averaged" : "trained");
    }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    averages_[i].copy_from(averages.at(parameters_[i].name));
    parameters_[i].variable.value().copy_from(weights.at(parameters_[i].name));
  }
  updates_ = updates;
  parameters_changed();
}

}  // namespace thorax
