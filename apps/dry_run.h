// `--dry-run`: what a run would be, before anything is written.
#pragma once

#include <string>
#include <vector>

#include "apps/experiment.h"

namespace thorax::app {

struct DryRun {
  RunRequest request;
  std::vector<ExperimentRow> rows;  // networks; one, without a name, for train and kfold
  bool cross_validation = false;    // folds; else one split
  bool keep_checkpoints = true;     // a finished fold keeps them, or its weights alone
  bool json = false;                // on stdout, instead of a text
};

// Reads the data and checks everything that the run would check before it begins, deals out the
// folds, and does a few training steps of every network at its real size on the device. Prints
// images by class, patient, source and rule; the folds; of each network its parameters, FLOP (the
// convolutions and matrix products of a step, counted as they are called), the most memory of
// tensors during these steps, and estimates of time (from those steps) and disk. Writes nothing.
// Throws the errors that the run would throw, and Error "[plan] ..." after the text where the disk
// has too little space or the folder holds a run.
void print_dry_run(const TrainSettings& shared, const DryRun& plan, const Compute& compute);

}  // namespace thorax::app
