// One number that a classifier's logits are divided by so that its probabilities mean what they
// say: temperature scaling, Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural
// networks", ICML 2017, section 4.2. The order of probabilities stays, so neither the class of the
// largest one nor an AUC changes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/stats/numbers.h"

namespace thorax {

// softmax(logits / temperature); of one logit z, which speaks for class 1 of two, {1 - p, p} with
// p = sigmoid(z / temperature).
std::vector<double> tempered_probabilities(std::span<const double> logits, double temperature);

// What a probability of class 1 of two becomes: sigmoid(logit(p) / temperature). 0 and 1 stay.
double tempered(double probability, double temperature);

struct TemperatureFit {
  std::int64_t images = 0;
  // NaN where the images determine none: no image, a class of the logits alone among the labels,
  // logits that tell the classes apart without an error (the limit is 0), or no better than chance
  // (the limit is infinity).
  double temperature = kUndefined;
  // Mean of -log(probability of the true class), before and after. Undefined with the temperature,
  // as is the rest.
  double nll_before = kUndefined, nll_after = kUndefined;
  // Expected calibration error over 10 bins of equal width: of two classes of the probability of
  // class 1, of more of the largest probability against how often it is right.
  double ece_before = kUndefined, ece_after = kUndefined;

  bool defined() const { return images > 0 && temperature == temperature; }
};

// The temperature with the least mean negative log-likelihood of the labels, found to 1e-12 of
// itself. logits[i] are those of sample i: one for two classes, else one per class; every sample
// has equally many, all finite. In 1 / temperature the likelihood is convex, so it is the only one.
// The same samples are used for what is before and after, which flatters the latter a little.
// Throws Error "[stats] ..." for sizes or labels that do not fit.
TemperatureFit fit_temperature(std::span<const std::vector<double>> logits,
                               std::span<const int> labels);

}  // namespace thorax
