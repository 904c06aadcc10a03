#include "engine/nn/module.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <set>

namespace thorax {
namespace {

bool matches(const std::string& name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return !pattern.empty() && pattern.back() == '*'
               ? name.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1))
               : name == pattern;
  });
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < 8; ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > 8) text += fmt::format(", ... ({} in all)", names.size());
  return text;
}

}  // namespace

template <class Visit>
void Module::walk(const std::string& prefix, const Visit& visit) const {
  visit(prefix, *this);
  for (const auto& [name, child] : children_) child->walk(prefix + name + ".", visit);
}

std::vector<Module::Named> Module::parameters() const {
  collected_.store(true, std::memory_order_relaxed);
  draw_unset();
  std::vector<Named> result;
  walk("", [&](const std::string& prefix, const Module& module) {
    for (const Parameter& parameter : module.parameters_)
      result.push_back({prefix + parameter.name, parameter.variable});
  });
  return result;
}

void Module::draw_unset() const {
  static std::mutex mutex;  // several threads may be the first to predict with a model
  const std::lock_guard lock(mutex);
  bool drawn = false;
  walk("", [&](const std::string& prefix, const Module& module) {
    if (!module.unset_.load(std::memory_order_acquire)) return;
    for (const Parameter& parameter : module.parameters_) {
      if (!parameter.initialiser) continue;
      const Tensor& value = parameter.variable.value();
      const bool on_host = value.device().kind == DeviceKind::cpu;
      if (!on_host || !std::all_of(value.data<float>(), value.data<float>() + value.numel(),
                                   [](float v) { return std::isnan(v); }))
        continue;
      parameter.initialiser(value, 0, prefix + parameter.name);
      drawn = true;
    }
    module.unset_.store(false, std::memory_order_release);
  });
  if (drawn) parameters_changed();
}

void Module::draw_parameters(std::uint64_t seed) const {
  walk("", [&](const std::string& prefix, const Module& module) {
    for (const Parameter& parameter : module.parameters_) {
      if (!parameter.initialiser) continue;
      const Tensor& value = parameter.variable.value();
      const Tensor drawn = Tensor::empty(value.shape(), value.dtype());
      parameter.initialiser(drawn, seed, prefix + parameter.name);
      value.copy_from(drawn);
    }
    module.unset_.store(false, std::memory_order_release);
  });
  parameters_changed();
}

void Module::mark_initialised() const {
  walk("", [](const std::string&, const Module& module) {
    module.unset_.store(false, std::memory_order_release);
  });
}

void Module::ready() const {
  if (unset_.load(std::memory_order_acquire)) {
    const Module* root = this;
    while (root->parent_ != nullptr) root = root->parent_;
    root->draw_unset();
  }
  if (parent_ == nullptr && training_ && grad_enabled() &&
      !collected_.load(std::memory_order_relaxed))
    fail_unregistered();
}

void Module::fail_unregistered() const {
  std::string own;
  for (const Parameter& parameter : parameters_)
    own +=
        fmt::format("{}{} {}", own.empty() ? "" : ", ", parameter.name, parameter.variable.shape());
  fail(
      "[module] a layer ({}) is trained but belongs to no module, so no optimizer knows it; "
      "register it where it is made (make, add_module), or collect its own parameters() first",
      own);
}

std::vector<Module::NamedBuffer> Module::buffers() const {
  std::vector<NamedBuffer> result;
  walk("", [&](const std::string& prefix, const Module& module) {
    for (const Buffer& buffer : module.buffers_)
      result.push_back({prefix + buffer.name, buffer.tensor});
  });
  return result;
}

std::int64_t Module::parameter_count() const {
  std::int64_t count = 0;
  for (const Named& parameter : parameters()) count += parameter.variable.value().numel();
  return count;
}

void Module::train(bool on) {
  training_ = on;
  parameters_changed();
  for (const auto& [name, child] : children_) child->train(on);
}

void Module::zero_grad() const {
  for (const Named& parameter : parameters()) parameter.variable.zero_grad();
}

void Module::to(Device device) const {
  draw_unset();
  walk("", [&](const std::string&, const Module& module) {
    for (const auto& [name, variable, initialiser] : module.parameters_) {
      variable.value().storage()->move_to(device);
      if (variable.grad().defined()) variable.grad().storage()->move_to(device);
    }
    for (const Buffer& buffer : module.buffers_)
      if (!buffer.on_host) buffer.tensor.storage()->move_to(device);
  });
  parameters_changed();
}

Device Module::device() const {
  const std::vector<Named> all = parameters();
  if (all.empty()) return {};
  const Device device = all.front().variable.value().device();
  for (const Named& parameter : all)
    THORAX_CHECK(parameter.variable.value().device() == device,
                 "[module] '{}' is on {}, '{}' on {}", all.front().name, to_string(device),
                 parameter.name, to_string(parameter.variable.value().device()));
  return device;
}

StateDict Module::state_dict() const {
  StateDict dict;
  for (const Named& parameter : parameters()) dict[parameter.name] = parameter.variable.value();
  for (const NamedBuffer& buffer : buffers()) dict[buffer.name] = buffer.tensor;
  return dict;
}

LoadReport Module::load_state_dict(const StateDict& dict, const std::vector<std::string>& may_miss,
                                   const std::vector<std::string>& may_ignore) const {
  const StateDict own = state_dict();
  LoadReport report;
  std::vector<std::string> missing, unexpected, wrong;
  for (const auto& [name, tensor] : own) {
    const auto found = dict.find(name);
    if (found == dict.end()) {
      report.missing.push_back(name);
      if (!matches(name, may_miss)) missing.push_back(name);
    } else if (found->second.shape() != tensor.shape()) {
      wrong.push_back(fmt::format("{}: {} in the file, {} in the model", name,
                                  found->second.shape(), tensor.shape()));
    }
  }
  for (const auto& [name, tensor] : dict) {
    if (own.contains(name)) continue;
    report.unexpected.push_back(name);
    if (!matches(name, may_ignore)) unexpected.push_back(name);
  }
  THORAX_CHECK(missing.empty(), "[load] missing from the file: {}", listed(missing));
  THORAX_CHECK(unexpected.empty(), "[load] unknown to the model: {}", listed(unexpected));
  THORAX_CHECK(wrong.empty(), "[load] shapes differ: {}", listed(wrong));
  for (const auto& [name, tensor] : own) {
    if (const auto found = dict.find(name); found != dict.end()) tensor.copy_from(found->second);
  }
  parameters_changed();
  return report;
}

Variable Module::add_parameter(std::string name, Tensor value) {
  parameters_.push_back({std::move(name), Variable(std::move(value), true), {}});
  return parameters_.back().variable;
}

Variable Module::add_parameter(std::string name, const Shape& shape, Initialiser initialiser) {
  const Tensor value = Tensor::full(shape, std::numeric_limits<double>::quiet_NaN());
  parameters_.push_back({std::move(name), Variable(value, true), std::move(initialiser)});
  unset_.store(true, std::memory_order_release);
  return parameters_.back().variable;
}

Tensor Module::add_buffer(std::string name, Tensor value) {
  buffers_.push_back({std::move(name), value});
  return value;
}

Tensor Module::add_host_buffer(std::string name, Tensor value) {
  buffers_.push_back({std::move(name), value, true});
  return value;
}

void Module::add_module(std::string name, Module& child) {
  children_.emplace_back(std::move(name), &child);
  child.parent_ = this;
}

}  // namespace thorax
