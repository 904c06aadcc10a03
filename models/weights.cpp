#include "models/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "models/model.h"

namespace thorax {
namespace {

bool starts_with_one_of(const std::string& name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return name.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
  });
}

// torchvision's DenseNets were published when PyTorch still allowed dots in the names of a layer's
// parts: "features.denseblock1.denselayer1.norm.1.weight" is "...denselayer1.norm1.weight" now.
std::string modern_name(const std::string& name) {
  if (name.find(".denselayer") == std::string::npos) return name;
  for (const std::string_view old : {".norm.1.", ".norm.2.", ".conv.1.", ".conv.2."}) {
    const std::size_t at = name.find(old);
    if (at != std::string::npos) return std::string(name).erase(at + old.size() - 3, 1);
  }
  return name;
}

// Wrappers of modules (data parallel, compiled, averaged) put a word before every name. The prefix
// that gives most of the model's names is taken off, unless it is the empty one.
void strip_prefix(StateDict& dict, const StateDict& own, WeightReport& report) {
  std::map<std::string, std::size_t> names_with;  // by prefix
  std::size_t wanted = 0;
  for (const auto& [name, tensor] : own) wanted += !name.ends_with(".num_batches_tracked");
  for (const auto& [name, tensor] : dict) {
    if (name.ends_with(".num_batches_tracked")) continue;
    if (own.contains(modern_name(name))) ++names_with[""];
    for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
      if (own.contains(modern_name(name.substr(dot + 1)))) ++names_with[name.substr(0, dot + 1)];
  }
  std::size_t most = 0;
  for (const auto& [prefix, count] : names_with) most = std::max(most, count);
  if (2 * most < wanted || (names_with.contains("") && names_with.at("") == most)) return;
  std::vector<std::string> best;
  for (const auto& [prefix, count] : names_with)
    if (count == most) best.push_back(prefix);
  THORAX_CHECK(best.size() == 1,
               "[load] the file holds the network {} times, under the prefixes {}: keep the one "
               "that is meant, or write it to a file of its own",
               best.size(), fmt::join(best, ", "));
  report.prefix = best.front();
  StateDict stripped;
  for (auto& [name, tensor] : dict)
    stripped.emplace(name.starts_with(report.prefix) ? name.substr(report.prefix.size()) : name,
                     tensor);
  dict = std::move(stripped);
}

// One value that is not finite makes every result NaN, or worse, something that looks like one.
void check_finite(const StateDict& dict, const StateDict& own) {
  const auto is_finite = [](const Tensor& t) {
    const bool half = t.dtype() == DType::f16 || t.dtype() == DType::bf16;
    return all_finite(half ? t.to(DType::f32) : t);  // on the CPU it looks at wide types only
  };
  for (const auto& [name, tensor] : dict)
    THORAX_CHECK(!own.contains(name) || is_finite(tensor),
                 "[load] '{}' has values that are not finite (NaN or infinite): these weights are "
                 "of no use; take an earlier checkpoint",
                 name);
}

void rename_old(StateDict& dict, const StateDict& own, WeightReport& report) {
  StateDict renamed;
  for (auto& [name, tensor] : dict) {
    std::string modern = own.contains(name) ? name : modern_name(name);
    if (!own.contains(modern)) modern = name;
    if (modern != name) {
      THORAX_CHECK(!dict.contains(modern), "[load] both '{}' and its old name '{}' are there",
                   modern, name);
      report.renamed.emplace_back(name, modern);
    }
    renamed.emplace(modern, tensor);
  }
  dict = std::move(renamed);
}

// A filter over several channels applied to a gray image repeated in each of them = the filter
// summed over its channels.
void adapt_first_filter(StateDict& dict, const StateDict& own, WeightReport& report) {
  for (const char* first : {"conv1.weight", "features.conv0.weight"}) {
    const auto theirs = dict.find(first);
    const auto ours = own.find(first);
    if (theirs == dict.end() || ours == own.end()) continue;
    const Tensor from = theirs->second;
    const Tensor& to = ours->second;
    if (from.rank() != 4 || to.size(3) != 1 || from.size(3) != 3 || from.size(0) != to.size(0) ||
        from.size(1) != to.size(1) || from.size(2) != to.size(2))
      continue;
    const Tensor wide = from.to(Device{}).to(DType::f32).to_contiguous();
    const Tensor summed = Tensor::empty(to.shape());
    for (std::int64_t i = 0; i < summed.numel(); ++i) {
      const float* rgb = wide.data<float>() + 3 * i;
      summed.data<float>()[i] = rgb[0] + rgb[1] + rgb[2];
    }
    theirs->second = summed;
    report.adapted.push_back(fmt::format("{}: 3 channels summed to 1", first));
  }
}

// Whether the file has the model's own head, in name and shape.
bool head_fits(const StateDict& dict, const StateDict& own, const std::vector<std::string>& head) {
  return std::all_of(own.begin(), own.end(), [&](const auto& entry) {
    if (!starts_with_one_of(entry.first, head)) return true;
    const auto found = dict.find(entry.first);
    return found != dict.end() && found->second.shape() == entry.second.shape();
  });
}

}  // namespace

WeightReport load_model_weights(const Model& model, StateDict dict,
                                const std::filesystem::path& path, WeightUse use) {
  WeightReport report;
  std::vector<std::string> may_miss;
  try {
    const StateDict own = model.state_dict();
    if (use != WeightUse::exact) {
      strip_prefix(dict, own, report);
      const std::vector<std::string> head = model.head_names();
      rename_old(dict, own, report);
      adapt_first_filter(dict, own, report);
      // Counts came with PyTorch 0.4.1; with a momentum, as here, nothing is computed from them.
      for (const auto& [name, tensor] : own)
        if (name.ends_with(".num_batches_tracked")) may_miss.push_back(name);
      // A head of the same name but another task must not slip in, and never half a head.
      const bool keep = use == WeightUse::adapt && head_fits(dict, own, head);
      if (!keep) may_miss.insert(may_miss.end(), head.begin(), head.end());
      std::erase_if(dict, [&](const auto& entry) {
        // Of a head that fits, what the model does not know ("head.*" beside "fc.*") goes too.
        if (!starts_with_one_of(entry.first, head) || (keep && own.contains(entry.first)))
          return false;
        report.left_out.push_back(entry.first);
        return true;
      });
    } else {
      WeightReport wrapped;
      StateDict copy = dict;
      strip_prefix(copy, own, wrapped);
      THORAX_CHECK(wrapped.prefix.empty(),
                   "[load] the names of its tensors begin with '{}', as a wrapper of the network "
                   "wrote them; thorax weights convert takes that off",
                   wrapped.prefix);
    }
    check_finite(dict, own);
    static_cast<LoadReport&>(report) = model.load_state_dict(dict, may_miss);
  } catch (const Error& error) {
    fail("[model] {}: {}", path.string(), error.what());
  }
  return report;
}

WeightReport load_model_weights(const Model& model, WeightFile file,
                                const std::filesystem::path& path, WeightUse use) {
  WeightReport report = load_model_weights(model, std::move(file.tensors), path, use);
  report.notes = std::move(file.notes);
  return report;
}

WeightReport load_model_weights(const Model& model, const std::filesystem::path& path,
                                WeightUse use) {
  return load_model_weights(model, read_weight_file(path), path, use);
}

}  // namespace thorax
