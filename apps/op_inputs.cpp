#include "apps/op_inputs.h"

#include <algorithm>

namespace thorax::app {

namespace {

// Length of a leading "case<digits>/", or 0.
std::size_t prefix_length(const std::string& key) {
  if (!key.starts_with("case")) return 0;
  std::size_t end = 4;
  while (end < key.size() && key[end] >= '0' && key[end] <= '9') ++end;
  return end > 4 && end < key.size() && key[end] == '/' ? end + 1 : 0;
}

}  // namespace

std::vector<CaseInput> split_cases(const SafetensorsFile& file, const std::string& what) {
  std::map<std::string, CaseInput> cases;
  const auto place = [&](const std::string& key) -> std::pair<CaseInput&, std::string> {
    const std::size_t length = prefix_length(key);
    CaseInput& found = cases[key.substr(0, length)];
    found.prefix = key.substr(0, length);
    return {found, key.substr(length)};
  };
  for (const auto& [key, tensor] : file.tensors) {
    auto [to, name] = place(key);
    to.tensors[name] = tensor;
  }
  for (const auto& [key, value] : file.metadata) {
    if (key == "format") continue;  // "pt": some writers put it into every file
    auto [to, name] = place(key);
    to.options[name] = value;
  }
  THORAX_CHECK(cases.size() < 2 || !cases.contains(""),
               "[op] {}: '{}' stands outside the cases of the file", what,
               !cases[""].tensors.empty() ? cases[""].tensors.begin()->first
                                          : cases[""].options.begin()->first);
  std::vector<CaseInput> result;
  for (auto& [prefix, input] : cases) result.push_back(std::move(input));
  // Numerical order: a longer number is larger.
  std::stable_sort(result.begin(), result.end(), [](const CaseInput& a, const CaseInput& b) {
    return a.prefix.size() < b.prefix.size();
  });
  return result;
}

}  // namespace thorax::app
