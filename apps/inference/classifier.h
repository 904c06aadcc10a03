// The trained classifier as a program uses it.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "apps/inference/compute.h"
#include "apps/inference/model_file.h"
#include "data/image.h"
#include "models/model.h"

namespace thorax {

class Classifier {
 public:
  // Rebuilds the network from a checkpoint alone; throws Error naming the file when it holds no
  // classifier.
  Classifier(const std::filesystem::path& checkpoint, const Compute& compute);

  const ModelInput& input() const { return input_; }
  // Files are read as in training, unless changed.
  void set_intensity(Intensity intensity) { input_.intensity = intensity; }
  const std::vector<std::string>& classes() const { return input_.classes; }
  // What whoever uses it should know, a line each.
  const std::vector<std::string>& notes() const { return notes_; }
  // Of two classes; they have a positive one and a threshold.
  bool binary() const { return input_.classes.size() == 2 && !input_.multilabel; }
  // The classes are findings, each with a probability of its own.
  bool multilabel() const { return input_.multilabel; }
  // Of all classes or findings, from the network's output for one image.
  std::vector<double> probabilities(std::span<const float> logits) const;
  const std::string& positive_class() const { return input_.classes.at(1); }
  // That of the checkpoint, 0.5 when it has none; it is one of probabilities at the temperature.
  double threshold() const;
  // What logits are divided by: 1 unless changed.
  double temperature() const { return temperature_; }
  void set_temperature(double temperature) { temperature_ = temperature; }
  // Whether probabilities are means over an image and its mirror image (left and right swapped).
  bool flips() const { return flips_; }
  void set_flips(bool flips) { flips_ = flips; }
  // For each image the probabilities of all classes; gray images of any size, already as
  // input().view shows them.
  std::vector<std::vector<double>> operator()(const std::vector<Image>& grays) const;

  // What the network sees of such images, N x size x size x 1, on the CPU.
  Tensor network_input(const std::vector<Image>& grays) const;
  // In eval mode, on the device that was asked for.
  const Model& network() const { return *model_; }

 private:
  // Of one view.
  std::vector<std::vector<double>> probabilities_of(const std::vector<Image>& grays) const;

  ModelInput input_;
  std::vector<std::string> notes_;
  std::unique_ptr<Model> model_;
  Compute compute_;
  double temperature_ = 1;
  bool flips_ = false;
};

// sigmoid(logit), without overflow.
double probability(double logit);
// Of all classes: one logit speaks for class 1 of two (sigmoid), several for a class each
// (softmax). Logits are divided by the temperature.
std::vector<double> class_probabilities(std::span<const float> logits, double temperature = 1);
// Of several findings: each logit by itself (sigmoid).
std::vector<double> finding_probabilities(std::span<const float> logits);

}  // namespace thorax
