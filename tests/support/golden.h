// Golden files of numbered cases (tests/golden/make_ops.py): tensors "case<k>/NAME", options
// "case<k>/NAME" in the metadata.
#pragma once

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "tests/support/places.h"

namespace thorax::test {

struct GoldenCase {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> options;

  Tensor f64(const std::string& name) const { return tensors.at(name).to(DType::f64); }
  double number(const std::string& name) const { return std::stod(options.at(name)); }
  bool flag(const std::string& name) const {
    const auto found = options.find(name);
    return found != options.end() && found->second == "true";
  }
};

// Rank-4 tensors come as NHWC.
inline std::vector<GoldenCase> golden_cases(const std::string& file) {
  const SafetensorsFile all =
      read_safetensors(thorax::test::source_folder() / "tests/golden" / file, FileOrder::pytorch);
  std::vector<GoldenCase> cases;
  const auto of = [&](const std::string& key) -> std::pair<GoldenCase*, std::string> {
    if (!key.starts_with("case")) return {nullptr, {}};
    const std::size_t slash = key.find('/');
    const auto index = static_cast<std::size_t>(std::stoul(key.substr(4, slash - 4)));
    if (index >= cases.size()) cases.resize(index + 1);
    return {&cases[index], key.substr(slash + 1)};
  };
  for (const auto& [key, tensor] : all.tensors) {
    const auto [c, name] = of(key);
    c->tensors[name] = tensor;
  }
  for (const auto& [key, value] : all.metadata)
    if (const auto [c, name] = of(key); c) c->options[name] = value;
  return cases;
}

// Largest difference as a share of the largest expected magnitude (or of 2^-126, for zeros).
inline double golden_error(const Tensor& computed, const Tensor& expected) {
  const Tensor a = computed.to(Device{}).to(DType::f64).to_contiguous(),
               b = expected.to(DType::f64).to_contiguous();
  THORAX_CHECK(a.numel() == b.numel(), "[golden] {} values, expected {}", a.numel(), b.numel());
  double largest = 0x1p-126, difference = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const double x = a.data<double>()[i], y = b.data<double>()[i];
    largest = std::max(largest, std::abs(y));
    difference = std::max(difference, x == y ? 0 : std::abs(x - y));
    if (std::isnan(x) != std::isnan(y)) return std::numeric_limits<double>::infinity();
  }
  return difference / largest;
}

}  // namespace thorax::test
