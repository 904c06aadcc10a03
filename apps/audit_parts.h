// The parts of an audit besides trained controls.
#pragma once

#include "apps/audit_report.h"
#include "apps/report/table.h"
#include "data/duplicates.h"

namespace thorax::app {

// A logistic regression on image_statistics (data/image_statistics.h), of three classes or more one
// of each against the rest, of several findings an image one of each, by the same folds as `row`:
// predictions on held-out images. Unreadable files are left out when the row's settings say so;
// what could not be fitted is added to `notes`.
std::vector<FoldResult> statistics_baseline(const Experiment& experiment, const ExperimentRow& row,
                                            std::vector<std::string>& notes);

// Images that the row's networks have not seen, from other sources: the mean probability over the
// folds' networks. Lungs are found by the run's segmenter where the row's view needs them. Classes
// must be the run's; of several findings an image those that the sources do not have are unknown,
// and `notes` names those that the run does not have.
FoldResult external_result(const Experiment& experiment, const ExperimentRow& row,
                           const std::vector<std::string>& specs, std::vector<std::string>& notes,
                           const Compute& compute);

// Near-duplicate images and the folds that hold them out.
struct DuplicateFigures {
  Table table;
  int across_folds = 0, across_patients = 0, joined_patients = 0;
};
DuplicateFigures duplicate_figures(const Experiment& experiment);

// True when no source has images of more than one class.
bool classes_by_source(const Dataset& dataset);
// Of several findings an image: those of which no source has positive and negative images.
std::vector<std::string> findings_by_source(const Dataset& dataset);

}  // namespace thorax::app
