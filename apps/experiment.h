// Several networks trained and judged on the same folds of the same images: `kfold` has one row,
// `compare` the study's Table 7, `audit` a row for every control.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/run.h"
#include "apps/training.h"

namespace thorax::app {

struct ExperimentRow {
  std::string name;  // its folder below rows/: "hrnet_w18-lungs"; empty: the run's own folder
  TrainSettings settings;
  // Every patient gets the class (or all findings) of another one, drawn by the seed: nothing is
  // left to be learned.
  bool random_labels = false;
};

struct Experiment {
  Run run;
  std::vector<ExperimentRow> rows;
  // Splits of the patient-grouped rows, and of those that let patients leak on purpose.
  Splits by_patient, by_image;

  const Splits& splits(const ExperimentRow& row) const {
    return row.settings.group == "patient" ? by_patient : by_image;
  }
  std::filesystem::path folder(const ExperimentRow& row) const;
  std::filesystem::path fold_folder(const ExperimentRow& row, std::size_t fold) const;
};

// Opens the run, makes its splits. Throws Error when two rows have one name.
Experiment open_experiment(const TrainSettings& shared, std::vector<ExperimentRow> rows,
                           const RunRequest& request, const Compute& compute);

// What `splits` deal out (describe_splits), and the findings that a side lacks.
std::string describe_folds(const Experiment& experiment, const Splits& splits);

// "ROW" or "ROW/FOLD", as --only names them. Throws Error listing the rows for an unknown one.
struct FoldChoice {
  std::string row;
  int fold = -1;  // all
};
std::vector<FoldChoice> parse_fold_choices(const std::vector<std::string>& texts,
                                           const std::vector<ExperimentRow>& rows, int folds);

// Takes over the finished folds of `merge`, then trains every chosen fold (none chosen: all) that
// is not finished; one that another process is at work on is left to it. Returns true when all
// folds of all rows are finished; else says what is left, with exit code 3 after a signal.
bool complete_experiment(const Experiment& experiment, const std::vector<std::string>& merge,
                         const std::vector<FoldChoice>& choices, bool keep_checkpoints,
                         const Compute& compute);

// Results of a row's folds; each must be finished.
std::vector<FoldResult> load_results(const Experiment& experiment, const ExperimentRow& row);

// The dataset as a row sees it: with its random labels, if it has them.
Dataset row_dataset(const Experiment& experiment, const ExperimentRow& row);

}  // namespace thorax::app
