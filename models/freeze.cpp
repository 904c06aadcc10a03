#include "models/freeze.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <map>

#include "engine/io/config.h"

namespace thorax {
namespace {

// "layer1.0.conv1.weight" and all that it lies in: "layer1.*", "layer1.0.*", "layer1.0.conv1.*".
std::vector<std::string> patterns_of(const std::vector<Module::Named>& parameters) {
  std::vector<std::string> all;
  for (const Module::Named& p : parameters) {
    all.push_back(p.name);
    for (std::size_t dot = p.name.find('.'); dot != std::string::npos;
         dot = p.name.find('.', dot + 1))
      all.push_back(p.name.substr(0, dot) + ".*");
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

[[noreturn]] void refuse(const Model& model, const std::string& pattern,
                         const std::vector<Module::Named>& parameters) {
  const std::vector<std::string> known = patterns_of(parameters);
  std::string near = nearest_word(pattern, known);
  // "layer1" without its end.
  for (const char* end : {".*", "*"})
    if (near.empty() && std::find(known.begin(), known.end(), pattern + ".*") != known.end())
      near = pattern + end;
  std::vector<std::string> tops;
  for (const Module::Named& p : parameters) {
    const std::string top = p.name.substr(0, p.name.find('.'));
    if (tops.empty() || tops.back() != top) tops.push_back(top);
  }
  fail("[freeze] '{}' matches no parameter of {}{} its names begin with {}", pattern,
       model.config().value("model", "the network"),
       near.empty() ? ";" : fmt::format("; did you mean '{}'?", near), fmt::join(tops, ", "));
}

std::string grouped(std::int64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

}  // namespace

FreezeReport freeze(const Model& model, const std::vector<std::string>& patterns) {
  FreezeReport report;
  report.by_pattern.resize(patterns.size());
  const std::vector<Module::Named> parameters = model.parameters();
  std::map<std::string, Variable> frozen;
  for (const Module::Named& p : parameters) {
    ++report.all;
    report.all_weights += p.variable.value().numel();
    bool matched = false;
    for (std::size_t i = 0; i < patterns.size(); ++i) {
      if (::fnmatch(patterns[i].c_str(), p.name.c_str(), FNM_NOESCAPE) != 0) continue;
      ++report.by_pattern[i];
      matched = true;
    }
    if (!matched) continue;
    ++report.parameters;
    report.weights += p.variable.value().numel();
    frozen.emplace(p.name, p.variable);
  }
  for (std::size_t i = 0; i < patterns.size(); ++i)
    if (report.by_pattern[i] == 0) refuse(model, patterns[i], parameters);
  THORAX_CHECK(report.parameters < report.all,
               "[freeze] {} match all {} parameters: nothing is left to train",
               fmt::join(patterns, ","), report.all);
  for (const Module::NamedBuffer& buffer : model.buffers()) {
    constexpr std::string_view kMean = "running_mean";
    if (!buffer.name.ends_with(kMean)) continue;
    const std::string layer = buffer.name.substr(0, buffer.name.size() - kMean.size());
    if (frozen.contains(layer + "weight") && frozen.contains(layer + "bias")) ++report.norm_layers;
  }
  for (const auto& [name, variable] : frozen) variable.state()->requires_grad = false;
  return report;
}

std::string FreezeReport::to_string(const std::vector<std::string>& patterns) const {
  std::string text = fmt::format("{} of {} parameters ({} of {} weights) stay as they are",
                                 parameters, all, grouped(weights), grouped(all_weights));
  if (norm_layers > 0)
    text += fmt::format("; {} batch norm layers use their running statistics", norm_layers);
  for (std::size_t i = 0; i < patterns.size(); ++i)
    text += fmt::format("{} {} matches {}", i == 0 ? ":" : ",", patterns[i], by_pattern[i]);
  return text;
}

}  // namespace thorax
