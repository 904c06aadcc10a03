#include "engine/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/optim/step.h"
#include "engine/runtime/graph.h"
#include "engine/runtime/parallel.h"

namespace thorax {

Optimizer::Optimizer(std::vector<Module::Named> parameters) : parameters_(std::move(parameters)) {
  std::erase_if(parameters_, [](const Module::Named& p) { return !p.variable.requires_grad(); });
  THORAX_CHECK(!parameters_.empty(), "[optimizer] no parameter requires a gradient");
  std::sort(parameters_.begin(), parameters_.end(),
            [](const Module::Named& a, const Module::Named& b) { return a.name < b.name; });
  for (std::size_t i = 1; i < parameters_.size(); ++i)
    THORAX_CHECK(parameters_[i - 1].name != parameters_[i].name,
                 "[optimizer] two parameters are named '{}'", parameters_[i].name);
  steps_ = Tensor::zeros({static_cast<std::int64_t>(parameters_.size())}, DType::i64);
}

void Optimizer::add_state(std::string kind) {
  kinds_.push_back(std::move(kind));
  std::vector<Tensor>& tensors = states_.emplace_back();
  for (const Module::Named& parameter : parameters_) {
    const Tensor& value = parameter.variable.value();
    tensors.push_back(Tensor::zeros(value.shape(), value.dtype(), value.device()));
  }
}

void Optimizer::step(double lr, double grad_scale, const Tensor& found_non_finite) {
  std::int64_t* steps = steps_.data<std::int64_t>();
  last_.clear();
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    if (parameters_[i].variable.grad().defined()) last_.push_back({i, steps[i] + 1});
  update(last_, lr, grad_scale, found_non_finite, {});
  for (const Due& due : last_) steps[due.index] = due.count;
  parameters_changed();
}

Tensor Optimizer::next_values(double lr, double grad_scale) const {
  const auto count = static_cast<std::int64_t>(parameters_.size());
  const Tensor values = Tensor::empty({count, 4}, DType::f64);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const std::array<double, 4> row =
        values_of({i, steps_.data<std::int64_t>()[i] + 1}, lr, grad_scale);
    std::copy(row.begin(), row.end(), values.data<double>() + 4 * i);
  }
  return values;
}

void Optimizer::step_on_device(const Tensor& values, const Tensor& skip) {
  THORAX_CHECK(values.defined() && values.dtype() == DType::f64 &&
                   values.shape() == Shape({static_cast<std::int64_t>(parameters_.size()), 4}),
               "[optimizer] values of a step on the device: {} parameters want as many rows of 4",
               parameters_.size());
  std::vector<Due> due;
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    if (parameters_[i].variable.grad().defined())
      due.push_back({i, steps_.data<std::int64_t>()[i] + 1});
  // The host's numbers are not read; those of the device are.
  update(due, 0, 1, skip, values);
  at_replay([this, due]() mutable {
    std::int64_t* steps = steps_.data<std::int64_t>();
    for (Due& d : due) d.count = ++steps[d.index];
    last_ = due;
    parameters_changed();
  });
}

void Optimizer::take_back_step() {
  for (const Due& due : last_) steps_.data<std::int64_t>()[due.index] = due.count - 1;
  last_.clear();
}

void Optimizer::zero_grad() const {
  for (const Module::Named& parameter : parameters_) parameter.variable.zero_grad();
}

StateDict Optimizer::state_dict() const {
  StateDict dict;
  dict["steps"] = steps_;
  for (std::size_t kind = 0; kind < kinds_.size(); ++kind)
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      dict[kinds_[kind] + "." + parameters_[i].name] = states_[kind][i];
  return dict;
}

void Optimizer::load_state_dict(const StateDict& dict) {
  const StateDict own = state_dict();
  for (const auto& [key, tensor] : own) {
    const auto found = dict.find(key);
    THORAX_CHECK(found != dict.end(), "[optimizer] state of {}: '{}' is missing", name(), key);
    THORAX_CHECK(found->second.shape() == tensor.shape() && found->second.dtype() == tensor.dtype(),
                 "[optimizer] state of {}: '{}' is {} {}, should be {} {}", name(), key,
                 found->second.shape(), name_of(found->second.dtype()), tensor.shape(),
                 name_of(tensor.dtype()));
  }
  for (const auto& [key, tensor] : dict)
    THORAX_CHECK(own.contains(key), "[optimizer] state of {}: '{}' is unknown", name(), key);
  for (const auto& [key, tensor] : own) tensor.copy_from(dict.at(key));
  last_.clear();
}

namespace {

Tensor row_of(const Tensor& values, std::size_t index) {
  return values.defined() ? values.batch_slice(static_cast<std::int64_t>(index), 1) : Tensor{};
}

}  // namespace

Sgd::Sgd(std::vector<Module::Named> parameters, const SgdOptions& options)
    : Optimizer(std::move(parameters)), options_(options) {
  if (options_.momentum != 0) add_state("momentum");
}

SgdStep Sgd::step_of(const Due& due, double lr, double grad_scale) const {
  const Tensor& value = parameters()[due.index].variable.value();
  SgdStep step;
  step.lr = lr;
  step.momentum = options_.momentum;
  step.dampening = options_.dampening;
  step.weight_decay = value.rank() <= 1 && !options_.decay_vectors ? 0 : options_.weight_decay;
  step.nesterov = options_.nesterov;
  step.first = due.count == 1;
  step.grad_scale = grad_scale;
  return step;
}

std::array<double, 4> Sgd::values_of(const Due& due, double lr, double grad_scale) const {
  return {grad_scale, lr, due.count == 1 ? 1.0 : 0.0, 0};
}

void Sgd::update(std::span<const Due> due, double lr, double grad_scale,
                 const Tensor& found_non_finite, const Tensor& values) {
  std::vector<SgdUpdate> updates;
  for (const Due& one : due) {
    const Variable& parameter = parameters()[one.index].variable;
    updates.push_back(
        {step_of(one, lr, grad_scale), parameter.value(), parameter.grad().to_contiguous(),
         options_.momentum != 0 ? state(0, one.index) : Tensor{}, row_of(values, one.index)});
  }
  sgd_step(updates, found_non_finite);
}

nlohmann::json Sgd::describe() const {
  return {{"name", name()},
          {"momentum", options_.momentum},
          {"dampening", options_.dampening},
          {"weight_decay", options_.weight_decay},
          {"nesterov", options_.nesterov},
          {"decay_vectors", options_.decay_vectors}};
}

AdamW::AdamW(std::vector<Module::Named> parameters, const AdamWOptions& options)
    : Optimizer(std::move(parameters)), options_(options) {
  add_state("exp_avg");
  add_state("exp_avg_sq");
}

AdamWStep AdamW::step_of(const Due& due, double lr, double grad_scale) const {
  const Tensor& value = parameters()[due.index].variable.value();
  AdamWStep step;
  step.lr = lr;
  step.beta1 = options_.beta1;
  step.beta2 = options_.beta2;
  step.epsilon = options_.epsilon;
  step.weight_decay = value.rank() <= 1 && !options_.decay_vectors ? 0 : options_.weight_decay;
  step.step = due.count;
  step.grad_scale = grad_scale;
  return step;
}

std::array<double, 4> AdamW::values_of(const Due& due, double lr, double grad_scale) const {
  const AdamWValues values = adamw_values(step_of(due, lr, grad_scale));
  return {grad_scale, values.shrink, values.step_size, values.root_correction};
}

void AdamW::update(std::span<const Due> due, double lr, double grad_scale,
                   const Tensor& found_non_finite, const Tensor& values) {
  std::vector<AdamWUpdate> updates;
  for (const Due& one : due) {
    const Variable& parameter = parameters()[one.index].variable;
    updates.push_back({step_of(one, lr, grad_scale), parameter.value(),
                       parameter.grad().to_contiguous(), state(0, one.index), state(1, one.index),
                       row_of(values, one.index)});
  }
  adamw_step(updates, found_non_finite);
}

nlohmann::json AdamW::describe() const {
  return {{"name", name()},
          {"beta1", options_.beta1},
          {"beta2", options_.beta2},
          {"epsilon", options_.epsilon},
          {"weight_decay", options_.weight_decay},
          {"decay_vectors", options_.decay_vectors}};
}

std::unique_ptr<Optimizer> make_optimizer(const ConfigObject& config,
                                          std::vector<Module::Named> parameters) {
  if (config.choice_or("name", "sgd", {"sgd", "adamw"}) == "sgd") {
    SgdOptions o;
    o.momentum = config.number_or("momentum", o.momentum, 0, 1);
    o.dampening = config.number_or("dampening", o.dampening, 0, 1);
    o.weight_decay = config.number_or("weight_decay", o.weight_decay, 0);
    o.nesterov = config.boolean_or("nesterov", o.nesterov);
    o.decay_vectors = config.boolean_or("decay_vectors", o.decay_vectors);
    if (o.nesterov && (o.momentum == 0 || o.dampening != 0))
      config.refuse("nesterov", "wants a momentum and no dampening");
    config.finish();
    return std::make_unique<Sgd>(std::move(parameters), o);
  }
  AdamWOptions o;
  constexpr double kBelowOne = 1 - 1e-12;
  o.beta1 = config.number_or("beta1", o.beta1, 0, kBelowOne);
  o.beta2 = config.number_or("beta2", o.beta2, 0, kBelowOne);
  o.epsilon = config.number_or("epsilon", o.epsilon, 0);
  o.weight_decay = config.number_or("weight_decay", o.weight_decay, 0);
  o.decay_vectors = config.boolean_or("decay_vectors", o.decay_vectors);
  config.finish();
  return std::make_unique<AdamW>(std::move(parameters), o);
}

SquareSum grad_squares(const std::vector<Module::Named>& parameters) {
  std::vector<Tensor> gradients;
  for (const Module::Named& parameter : parameters)
    if (parameter.variable.grad().defined()) gradients.push_back(parameter.variable.grad());
  return sum_of_squares(gradients);
}

double grad_norm(const std::vector<Module::Named>& parameters) {
  return std::sqrt(grad_squares(parameters).sum.item());
}

double clip_factor(double norm, double max_norm) {
  return max_norm > 0 && norm > max_norm ? max_norm / norm : 1.0;
}

}  // namespace thorax
