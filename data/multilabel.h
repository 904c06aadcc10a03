// Data sets whose images have several findings, each positive, negative or unknown:
// Dataset::classes are then the findings, and Sample::labels has an entry for each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/class_task.h"
#include "data/dataset.h"

namespace thorax {

// Entries of Sample::labels.
inline constexpr std::int8_t kPositiveLabel = 1, kNegativeLabel = 0, kUnknownLabel = -1;

// How often a finding is what, in images, and in how many patients.
struct FindingCount {
  std::string name;
  std::int64_t positive = 0, negative = 0, unknown = 0;
  std::int64_t positive_patients = 0, negative_patients = 0;
};
std::vector<FindingCount> finding_counts(const Dataset& dataset);  // in the order of the findings

// The same as a table, a line for each.
std::string findings_table(const Dataset& dataset);

// Of each sample its finding that the fewest of `samples` have, the first of equals; -1 of those
// without any. What samples are drawn by where findings are to be learned from as often as others:
// weighting an image by its rarest label, as for imbalanced data with several labels.
std::vector<int> rarest_findings(const std::vector<Sample>& samples);

// Adds the findings and samples of `one` to `all`: names that are one class (classes.h) are one
// finding; what a source does not speak of is unknown in its images.
void join_findings(Dataset& all, Dataset one);

// Brings the findings and every sample's labels into the order of `names`: what the data does not
// have is unknown. Returns the data's findings that are not among them, which are dropped.
std::vector<std::string> arrange_findings(Dataset& dataset, const std::vector<std::string>& names);

// "Edema|Mass": the positive findings, in order.
std::string positive_findings(const std::vector<std::string>& findings,
                              const std::vector<std::int8_t>& labels);
// "10?": an entry for each finding, for checksums.
std::string label_text(const std::vector<std::int8_t>& labels);

// Why no classifier can be trained on the findings: one that is never positive or never negative.
// With what to do. Empty when one can.
std::string multilabel_problem(const Dataset& dataset);

// What the data is: multilabel, binary (two classes) or multiclass.
ClassTask task_of(const Dataset& dataset);
// Why the data is not good for `wanted`, with its classes and what to do. Empty when it is.
std::string task_problem(const Dataset& dataset, ClassTask wanted);

}  // namespace thorax
