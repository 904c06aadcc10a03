// One network trained and judged on one split: what `train` does once and `kfold` once per fold.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apps/organ_scores.h"
#include "apps/organ_task.h"
#include "apps/settings.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "engine/stats/multiclass.h"
#include "engine/stats/temperature.h"
#include "engine/train/metrics.h"
#include "engine/train/trainer.h"
#include "models/model.h"

namespace thorax::app {

// A held-out image and what the final network says of it.
struct Scored {
  std::string image;  // Sample::id
  std::string patient, source;
  int label = 0;     // classifier
  double score = 0;  // classifier: probability of class 1 of two; segmenter: this image's Dice
  double iou = 0;    // segmenter
  double hausdorff95 = 0;  // segmenter: pixels of the network's input; NaN when a mask is empty
  std::vector<double> probabilities = {};  // classifier of three classes or more, or of findings
  std::vector<std::int8_t> labels = {};    // of several findings an image: Sample::labels
  // Segmenter of several organs; score, iou and hausdorff95 are then means over them.
  std::vector<OrganScore> organs = {};
  // Classifier: as the network gave them; none where the image was read from predictions.csv.
  std::vector<double> logits = {};
};

struct FoldResult {
  bool finished = false;  // false: stopped by a signal after a checkpoint
  std::vector<Scored> scored;
  double seconds = 0;                     // of this process's work; 0 when the fold was read
  double loss = 0;                        // mean validation loss of the final network
  std::vector<std::string> classes = {};  // classifier: by label
  bool multilabel = false;  // the classes are findings, of which an image may have several
  std::map<std::string, std::int64_t> left_out = {};  // left_out_counts (run.h) of the run's data
  std::vector<std::string> organs = {};  // segmenter of several: names, as in Scored::organs
  // Of a classifier's held-out images; undefined in folds of earlier versions.
  TemperatureFit temperature = {};
};

struct FoldOptions {
  std::string title;          // "fold 1/3", for the progress bar
  bool resume = false;        // go on from the folder's checkpoint; a finished fold is only read
  bool weights_only = false;  // a finished fold keeps model.safetensors instead of its checkpoints
  std::function<void()> begun = {};                   // called after the first step of this process
  std::map<std::string, std::int64_t> left_out = {};  // left_out_counts (run.h)
};

// Of a finished fold that keeps its weights only, removes the checkpoints that a crash before their
// removal has left or a power loss after it has brought back.
void tidy_finished_fold(const std::filesystem::path& folder);

// What trains one network on one split, up to the first step; callbacks refer to it.
struct Training {
  TrainSettings settings;   // fitted
  bool multilabel = false;  // several findings an image
  OrganOutputs organs;      // of a segmenter
  std::unique_ptr<Model> model;
  std::unique_ptr<Loader> images;
  std::unique_ptr<Optimizer> optimizer;
  ScheduleOptions schedule;
  TrainerOptions options;      // without a folder
  TrainerCallbacks callbacks;  // without a validation
};
// Says what weights it starts from and what is frozen.
std::unique_ptr<Training> make_training(const TrainSettings& settings,
                                        const std::vector<std::string>& classes,
                                        const std::vector<Sample>& train, const Compute& compute);

// Trains on `train`, validates after every epoch on `validation` and scores it at the end with the
// weights of the last epoch: the held-out part selects nothing. Writes
// folder/{last,best}.safetensors, metrics.jsonl and what fold_files.h says.
FoldResult train_fold(const TrainSettings& settings, const std::vector<std::string>& classes,
                      const std::vector<Sample>& train, const std::vector<Sample>& validation,
                      const std::filesystem::path& folder, const FoldOptions& fold,
                      const Compute& compute);

// What a trained classifier says of other images; gray images are shown as `settings` says.
std::vector<Scored> score_samples(const TrainSettings& settings, Model& model,
                                  const std::vector<Sample>& samples, const Compute& compute);

// How many outputs a classifier of these classes has: one for two, else one for each; with several
// findings an image one for each finding.
std::size_t output_count(const std::vector<std::string>& classes, bool multilabel);
// Settings whose classifier has these outputs where they say one, as two classes need; all else
// stays.
TrainSettings fitted(TrainSettings settings, const std::vector<std::string>& classes,
                     bool multilabel = false);
// The same for a segmenter of several organs, or one by softmax.
TrainSettings fitted(TrainSettings settings, const OrganOutputs& organs);

// Labels and probabilities of scored images, for engine/train/metrics.h and stats/multiclass.h.
BinaryReport classifier_report(const std::vector<Scored>& scored);
MulticlassReport multiclass_report(const std::vector<Scored>& scored, std::size_t classes);

// Means over images. A distance needs two outlines: where the network found nothing although there
// is a mask, or something where there is none, the image counts as missed and is in no mean of
// distances; `measured` says over how many images that mean is. (Dice and IoU of a miss are 0.)
struct SegmenterReport {
  double dice = 0, iou = 0, hausdorff95 = 0;
  std::int64_t images = 0, measured = 0, missed = 0;
};
// "1.00 pixels over 7 of 8 images, 1 missed".
std::string hausdorff_text(const SegmenterReport& report);
SegmenterReport segmenter_report(const std::vector<Scored>& scored);

}  // namespace thorax::app
