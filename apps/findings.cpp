#include "apps/findings.h"

#include <fmt/format.h>

#include "engine/io/json_text.h"
#include "engine/stats/curves.h"
#include "engine/stats/multilabel.h"

namespace thorax::app {

FindingScores finding_scores(const std::vector<Scored>& scored) {
  FindingScores s;
  for (const Scored& row : scored) {
    s.labels.push_back(row.labels);
    s.probabilities.push_back(row.probabilities);
  }
  return s;
}

std::vector<std::optional<OperatingThreshold>> youden_thresholds(const std::vector<Scored>& scored,
                                                                 std::size_t findings) {
  const FindingScores all = finding_scores(scored);
  std::vector<std::optional<OperatingThreshold>> thresholds(findings);
  for (std::size_t f = 0; f < findings; ++f) {
    const KnownScores known = known_scores(all.labels, all.probabilities, f);
    const OperatingPoint point = youden_point(known.labels, known.scores);
    // Where no threshold is better than chance none is worth keeping.
    if (!(point.youden() > 0)) continue;
    thresholds[f] = {point.threshold, point.sensitivity, point.specificity,
                     static_cast<std::int64_t>(known.labels.size())};
  }
  return thresholds;
}

std::map<std::string, std::string> finding_threshold_metadata(
    const std::vector<Scored>& scored, const std::vector<std::string>& findings) {
  nlohmann::json list = nlohmann::json::array();
  const auto thresholds = youden_thresholds(scored, findings.size());
  for (std::size_t f = 0; f < findings.size(); ++f) {
    nlohmann::json entry{{"finding", findings[f]}};
    if (const auto& t = thresholds[f])
      entry.update({{"rule", "youden"},
                    {"threshold", t->threshold},
                    {"sensitivity", t->sensitivity},
                    {"specificity", t->specificity},
                    {"images", t->images}});
    list.push_back(std::move(entry));
  }
  return {{kThresholdsKey, dump_json(nlohmann::json{{"findings", list}})}};
}

std::string thresholds_text(const Ensemble& classifier, std::optional<double> stated) {
  std::string text = "verdict: every finding from its threshold of P on\n";
  const auto& own = classifier.input().thresholds;
  const std::vector<double> thresholds = thresholds_of(classifier, stated);
  for (std::size_t f = 0; f < classifier.classes().size(); ++f) {
    text += fmt::format("  {} from P = ", classifier.classes()[f]);
    if (stated)
      text += fmt::format("{} (--threshold)", *stated);
    else if (classifier.members().size() > 1)
      text += fmt::format("{} (the mean of the members' thresholds, 0.5 for those without)",
                          thresholds[f]);
    else if (f < own.size() && own[f])
      text += fmt::format(
          "{} (the checkpoint's: Youden's point of {} validation images, sensitivity {:.3f}, "
          "specificity {:.3f} there)",
          own[f]->threshold, own[f]->images, own[f]->sensitivity, own[f]->specificity);
    else
      text += "0.5 (the checkpoint has no threshold of its own)";
    if (f + 1 < classifier.classes().size()) text += "\n";
  }
  return text;
}

}  // namespace thorax::app
