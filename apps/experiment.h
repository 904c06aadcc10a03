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
  // Every patient gets the class of another one, drawn by the seed: nothing is left to be learned.
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
  bool finished(const ExperimentRow& row) const;
  bool finished() const;
};

// Opens the run, makes its splits. Throws Error when two rows have one name.
Experiment open_experiment(const TrainSettings& shared, std::vector<ExperimentRow> rows,
                           const RunRequest& request, const Compute& compute);

// "ROW" or "ROW/FOLD", as --only names them. Throws Error listing the rows for an unknown one.
struct FoldChoice {
  std::string row;
  int fold = -1;  // all
};
std::vector<FoldChoice> parse_fold_choices(const std::vector<std::string>& texts,
                                           const std::vector<ExperimentRow>& rows, int folds);

// Trains every chosen fold (none chosen: all) that is not finished. A fold that another process is
// at work on is left to it. Returns false when it was stopped by a signal.
bool run_experiment(const Experiment& experiment, const std::vector<FoldChoice>& choices,
                    bool keep_checkpoints, const Compute& compute);

// "hrnet_w18-lungs: folds 1, 2 left", a line per row that is not finished.
std::string unfinished(const Experiment& experiment);

// Results of a row's folds; each must be finished.
std::vector<FoldResult> load_results(const Experiment& experiment, const ExperimentRow& row);

// The dataset as a row sees it: with its random labels, if it has them.
Dataset row_dataset(const Experiment& experiment, const ExperimentRow& row);

// Copies finished folds of other folders of the same experiment, made on other machines: same rows,
// settings (but for where files lie), images and splits; anything else is an Error naming what
// differs. A fold that is finished here stays. Returns how many were copied.
int merge_experiment(const Experiment& experiment,
                     const std::vector<std::filesystem::path>& others);

}  // namespace thorax::app
