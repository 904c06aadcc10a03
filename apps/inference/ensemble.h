// Several classifiers that speak with one voice: the mean of their probabilities.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/inference/classifier.h"
#include "data/image.h"

namespace thorax {

// What commands with trained classifiers are given about them.
struct ClassifierOptions {
  std::vector<std::string> files;          // --classifier: checkpoints, and folders of runs
  std::string temperature = "checkpoint";  // --temperature: checkpoint, off, or a number
  std::string tta = "none";                // --tta
  std::string intensity = {};              // --intensity; empty: as in training
};
// The number that --temperature gives; none for "checkpoint", 1 for "off". Throws Error
// "[ensemble] ..." for what is neither of them nor a number from 0.001 to 1000.
std::optional<double> parse_temperature(const std::string& text);

// What an ensemble says of an image.
struct Opinion {
  std::vector<double> probabilities;         // of all classes: the mean of
  std::vector<std::vector<double>> members;  // those of each
  std::vector<double> spread;  // by class, their standard deviation (n - 1); 0 of one member
};

class Ensemble {
 public:
  // Throws Error naming two files where classes, their order, the view or (unless chosen) the
  // intensity differ, and for options that are none.
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

  // What whoever uses it should know of the files, a line each: lacking checksums, an intensity
  // other than that of training.
  const std::vector<std::string>& notes() const { return notes_; }
  // What a person should know before the results, a line each: members, temperature, views.
  std::vector<std::string> lines() const;
  // Where the threshold is from: "the checkpoint's: Youden's point of ...".
  std::string threshold_origin() const;

 private:
  std::vector<std::filesystem::path> files_;
  std::vector<std::unique_ptr<Classifier>> members_;
  std::string temperature_;  // as given
  std::vector<std::string> notes_;
};

// Several findings: the threshold of each, `stated` for all, else the checkpoint's, else 0.5; of
// several classifiers the mean of theirs.
std::vector<double> thresholds_of(const Ensemble& classifier, std::optional<double> stated);
// "Edema, Mass": the findings whose probability reaches their threshold; "none".
std::string findings_verdict(const Ensemble& classifier, std::span<const double> probabilities,
                             std::span<const double> thresholds);

}  // namespace thorax
