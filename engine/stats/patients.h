// From scores of images to scores of patients.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace thorax {

// A number for each name: its place among the different names, sorted. Equal names have equal
// numbers whatever the order that they come in; for group_bootstrap.
std::vector<int> group_numbers(std::span<const std::string> names);

struct PatientScore {
  std::string patient;
  int label;
  double score;
  int images;
};
// mean: of the images' scores; max: the most suspicious image decides.
enum class PatientRule { mean, max };

// Patients whose images have different labels, sorted.
std::vector<std::string> label_conflicts(std::span<const std::string> patients,
                                         std::span<const int> labels);
// One score per patient, sorted by name. Throws Error "[stats] ..." for sizes that differ, a score
// that is NaN, a patient without a name, and label conflicts, which it names.
std::vector<PatientScore> patient_scores(std::span<const std::string> patients,
                                         std::span<const int> labels,
                                         std::span<const double> scores,
                                         PatientRule rule = PatientRule::mean);

}  // namespace thorax
