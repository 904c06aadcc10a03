// Provider choices as text.
#include <algorithm>
#include <map>

#include "engine/registry/autotune.h"

namespace thorax {
namespace {

std::string time_text(double seconds) {
  if (seconds <= 0) return "-";
  return seconds < 1e-3 ? fmt::format("{:.1f} us", seconds * 1e6)
                        : fmt::format("{:.2f} ms", seconds * 1e3);
}

bool is_default(const ProviderChoice& c) {
  return c.reason != "explicit" && c.provider == c.candidates.front();
}

}  // namespace

std::string describe_choices(const std::vector<ProviderChoice>& choices) {
  std::vector<const ProviderChoice*> others;
  std::map<std::string, std::map<std::string, int>> defaults;  // by operation, by provider
  std::string text;
  for (const ProviderChoice& c : choices) {
    if (!is_default(c))
      others.push_back(&c);
    else
      ++defaults[c.operation + (c.direction.empty() ? "" : " " + c.direction)]
                [fmt::format("{} ({})", c.provider, c.reason)];
  }
  // What gains the most first.
  const auto gain = [](const ProviderChoice* c) { return c->default_seconds - c->seconds; };
  std::stable_sort(others.begin(), others.end(),
                   [&](const auto* a, const auto* b) { return gain(a) > gain(b); });
  if (!others.empty())
    text +=
        fmt::format("{:<17} {:<16} {:<17} {:<17} {:>10} {:>10}  {:<9} {}\n", "operation",
                    "direction", "provider", "instead of", "time", "default's", "why", "problem");
  for (const ProviderChoice* c : others)
    text +=
        fmt::format("{:<17} {:<16} {:<17} {:<17} {:>10} {:>10}  {:<9} {}\n", c->operation,
                    c->direction, c->provider, c->reason == "explicit" ? "" : c->candidates.front(),
                    time_text(c->seconds), time_text(c->default_seconds), c->reason, c->problem);
  if (!defaults.empty()) text += "the default, by number of problems:\n";
  for (const auto& [operation, providers] : defaults) {
    text += fmt::format("  {:<33}", operation);
    for (const auto& [provider, count] : providers) text += fmt::format(" {} {}", count, provider);
    text += "\n";
  }
  for (const ProviderChoice& c : choices)
    for (const std::string& refused : c.refused)
      text += fmt::format("refused: {} {} {}: {}\n", c.operation, c.direction, c.problem, refused);
  return text;
}

}  // namespace thorax
