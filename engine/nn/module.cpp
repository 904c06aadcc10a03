#include "engine/nn/module.h"

#include <algorithm>
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
  std::vector<Named> result;
  walk("", [&](const std::string& prefix, const Module& module) {
    for (const auto& [name, variable] : module.parameters_)
      result.push_back({prefix + name, variable});
  });
  return result;
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
  walk("", [&](const std::string&, const Module& module) {
    for (const auto& [name, variable] : module.parameters_) {
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
  parameters_.emplace_back(std::move(name), Variable(std::move(value), true));
  return parameters_.back().second;
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
}

}  // namespace thorax
