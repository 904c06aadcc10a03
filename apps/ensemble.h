// Several classifiers that speak with one voice: the mean of their probabilities.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/classifier.h"
#include "data/image.h"

namespace CLI {
class App;
}

namespace thorax::app {

// What commands with trained classifiers are given about them.
struct ClassifierOptions {
  std::vector<std::string> files;          // --classifier: checkpoints, and folders of runs
  std::string temperature = "checkpoint";  // --temperature: checkpoint, off, or a number
  std::string tta = "none";                // --tta
  std::string intensity;                   // --intensity; empty: as in training
};
// All but --intensity.
void add_classifier_options(CLI::App& command, ClassifierOptions& options);

// The checkpoints meant: a file is itself, the folder of a `kfold` run (or of a row of `compare`)
// its folds, the folder of a `train` run its network. Throws Error "[ensemble] ..." for a folder
// without networks, one whose folds are not all finished, and a file that is named twice.
std::vector<std::filesystem::path> classifier_files(const std::vector<std::string>& given);

// What an ensemble says of an image.
struct Opinion {
  std::vector<double> probabilities;         // of all classes: the mean of
  std::vector<std::vector<double>> members;  // those of each
  std::vector<double> spread;  // by class, their standard deviation (n - 1); 0 of one member
};

class Ensemble {
 public:
  // Throws Error naming two files where classes, their order, the view or (unless chosen) the
  // intensity differ; what it says about intensities and temperatures goes to stderr.
  Ensemble(const ClassifierOptions& options, const Compute& compute);

  const std::vector<std::unique_ptr<Classifier>>& members() const { return members_; }
  const std::vector<std::filesystem::path>& files() const { return files_; }
  // "a.safetensors", or "a.safetensors and 2 more".
  std::string name() const;
  // What all members have in common; size, threshold and temperature are the first one's.
  const ModelInput& input() const { return members_.front()->input(); }
  const std::vector<std::string>& classes() const { return members_.front()->classes(); }
  bool binary() const { return members_.front()->binary(); }
  bool multilabel() const { return members_.front()->multilabel(); }
  const std::string& positive_class() const { return members_.front()->positive_class(); }
  // The mean of the members' thresholds.
  double threshold() const;
  // Gray images as for Classifier.
  std::vector<Opinion> operator()(const std::vector<Image>& grays) const;
  Opinion opinion(std::vector<std::vector<double>> members) const;

  // What a person should know before the results, a line each: members, temperature, views.
  std::vector<std::string> lines() const;
  // Where the threshold is from: "the checkpoint's: Youden's point of ...".
  std::string threshold_origin() const;

 private:
  std::vector<std::filesystem::path> files_;
  std::vector<std::unique_ptr<Classifier>> members_;
  std::string temperature_;  // as given
};

}  // namespace thorax::app
