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
// summed over its channels; and one filter over the gray image = a third of it over each of three.
void adapt_first_filter(StateDict& dict, const StateDict& own, WeightReport& report) {
  for (const char* first : {"conv1.weight", "features.conv0.weight", "down.0.conv1.weight"}) {
    const auto theirs = dict.find(first);
    const auto ours = own.find(first);
    if (theirs == dict.end() || ours == own.end()) continue;
    const Tensor from = theirs->second;
    const Tensor& to = ours->second;
    const bool sums = from.rank() == 4 && from.size(3) == 3 && to.size(3) == 1;
    const bool spreads = from.rank() == 4 && from.size(3) == 1 && to.size(3) == 3;
    if ((!sums && !spreads) || from.size(0) != to.size(0) || from.size(1) != to.size(1) ||
        from.size(2) != to.size(2))
      continue;
    const Tensor wide = from.to(Device{}).to(DType::f32).to_contiguous();
    const Tensor fitted = Tensor::empty(to.shape());
    for (std::int64_t i = 0; i < fitted.numel(); ++i) {
      const float* rgb = wide.data<float>() + 3 * i;
      fitted.data<float>()[i] = sums ? rgb[0] + rgb[1] + rgb[2] : wide.data<float>()[i / 3] / 3;
    }
    theirs->second = fitted;
    report.adapted.push_back(
        fmt::format("{}: {}", first, sums ? "3 channels summed to 1" : "1 channel spread over 3"));
  }
}

// torchxrayvision's DenseNet121 is shown gray pixels from -1024 to 1024
// (torchxrayvision.datasets.normalize), networks of this program the same ones from -2 to 2. The
// first convolution has no bias and both pad with the value of a middle gray, so 512 times its
// filter gives the same sums; by a power of two no bit is lost. Nothing else in such a file says
// whose it is than one gray channel and 18 findings, its class, or the operating points.
void adapt_torchxrayvision(StateDict& dict, const std::string& module_class, WeightReport& report) {
  constexpr const char* kFilter = "features.conv0.weight";
  constexpr const char* kPoints = "op_threshs";
  constexpr std::int64_t kFindings = 18;
  const auto filter = dict.find(kFilter), classifier = dict.find("classifier.weight");
  if (filter == dict.end() || classifier == dict.end() || filter->second.rank() != 4 ||
      filter->second.size(3) != 1 || classifier->second.rank() != 2)
    return;
  if (!dict.contains(kPoints) && !module_class.starts_with("torchxrayvision.") &&
      classifier->second.size(0) != kFindings)
    return;
  const Tensor larger = filter->second.to(Device{}).to(DType::f32).clone();
  scale_(larger, 512);
  filter->second = larger;
  report.adapted.push_back(fmt::format(
      "{}: multiplied by 512: taken for torchxrayvision's (one gray channel, {} findings), whose "
      "pixels go from -1024 to 1024, those of this program from -2 to 2",
      kFilter, classifier->second.size(0)));
  if (dict.erase(kPoints) > 0)
    report.notes.push_back(
        "op_threshs is left out: torchxrayvision moves its probabilities by these operating "
        "points; here they are the sigmoids of the logits");
}

// Why the file's head is not the model's; empty when it is.
std::string head_difference(const StateDict& dict, const StateDict& own,
                            const std::vector<std::string>& head) {
  for (const auto& [name, tensor] : own) {
    if (!starts_with_one_of(name, head)) continue;
    const auto found = dict.find(name);
    if (found == dict.end()) return fmt::format("the file's head has no '{}'", name);
    if (found->second.shape() != tensor.shape())
      return fmt::format("'{}' is {} in the file, {} in this network", name, found->second.shape(),
                         tensor.shape());
  }
  return {};
}

}  // namespace

namespace {

// `foreign`: a file that no command of this program wrote.
WeightReport load(const Model& model, StateDict dict, const std::filesystem::path& path,
                  WeightUse use, bool foreign, const std::string& module_class) {
  WeightReport report;
  std::vector<std::string> may_miss;
  try {
    const StateDict own = model.state_dict();
    if (use != WeightUse::exact) {
      strip_prefix(dict, own, report);
      const std::vector<std::string> head = model.head_names();
      rename_old(dict, own, report);
      if (foreign) adapt_torchxrayvision(dict, module_class, report);
      adapt_first_filter(dict, own, report);
      // Counts came with PyTorch 0.4.1; with a momentum, as here, nothing is computed from them.
      for (const auto& [name, tensor] : own)
        if (name.ends_with(".num_batches_tracked")) may_miss.push_back(name);
      // A head of the same name but another task must not slip in, and never half a head.
      report.head_reason = use == WeightUse::adapt
                               ? head_difference(dict, own, head)
                               : "its task or classes are other ones, or not known";
      const bool keep = report.head_reason.empty();
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

}  // namespace

WeightReport load_model_weights(const Model& model, StateDict dict,
                                const std::filesystem::path& path, WeightUse use) {
  return load(model, std::move(dict), path, use, /*foreign=*/false, {});
}

WeightReport load_model_weights(const Model& model, WeightFile file,
                                const std::filesystem::path& path, WeightUse use) {
  WeightReport report =
      load(model, std::move(file.tensors), path, use, !file.ours(), file.module_class);
  report.notes.insert(report.notes.begin(), file.notes.begin(), file.notes.end());
  return report;
}

WeightReport load_model_weights(const Model& model, const std::filesystem::path& path,
                                WeightUse use) {
  return load_model_weights(model, read_weight_file(path), path, use);
}

}  // namespace thorax
