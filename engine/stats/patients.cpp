#include "engine/stats/patients.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "engine/tensor/error.h"

namespace thorax {

std::vector<int> group_numbers(std::span<const std::string> names) {
  std::map<std::string, int> numbers;
  for (const std::string& name : names) numbers.emplace(name, 0);
  int next = 0;
  for (auto& [name, number] : numbers) number = next++;
  std::vector<int> result;
  for (const std::string& name : names) result.push_back(numbers.at(name));
  return result;
}

std::vector<std::string> label_conflicts(std::span<const std::string> patients,
                                         std::span<const int> labels) {
  THORAX_CHECK(patients.size() == labels.size(), "[stats] {} patients and {} labels",
               patients.size(), labels.size());
  std::map<std::string, int> label_of;
  std::set<std::string> conflicts;
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (label_of.emplace(patients[i], labels[i]).first->second != labels[i])
      conflicts.insert(patients[i]);
  return {conflicts.begin(), conflicts.end()};
}

std::vector<PatientScore> patient_scores(std::span<const std::string> patients,
                                         std::span<const int> labels,
                                         std::span<const double> scores, PatientRule rule) {
  THORAX_CHECK(labels.size() == scores.size(), "[stats] {} labels and {} scores", labels.size(),
               scores.size());
  std::vector<std::string> conflicts = label_conflicts(patients, labels);
  const std::size_t count = conflicts.size();
  conflicts.resize(std::min<std::size_t>(count, 5));
  THORAX_CHECK(count == 0, "[stats] {} patients have images with different labels: {}{}", count,
               fmt::join(conflicts, ", "), count > 5 ? ", ..." : "");
  std::map<std::string, PatientScore> sorted;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    THORAX_CHECK(!patients[i].empty(), "[stats] sample {} has no patient", i);
    THORAX_CHECK(!std::isnan(scores[i]), "[stats] score of sample {} is not a number", i);
    const auto [at, added] =
        sorted.emplace(patients[i], PatientScore{patients[i], labels[i], scores[i], 1});
    if (added) continue;
    PatientScore& patient = at->second;
    patient.score =
        rule == PatientRule::max ? std::max(patient.score, scores[i]) : patient.score + scores[i];
    ++patient.images;
  }
  std::vector<PatientScore> result;
  for (auto& [name, patient] : sorted) {
    if (rule == PatientRule::mean) patient.score /= patient.images;
    result.push_back(std::move(patient));
  }
  return result;
}

}  // namespace thorax
