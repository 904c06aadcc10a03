// From the sums over the batch to the loss and to what every pixel's gradient needs: a few numbers
// a class, the same on the CPU and in CUDA kernels.
#pragma once

#include "kernels/segmentation_loss/segmentation_loss.h"

namespace thorax::segmentation_math {

struct Numbers {  // of a problem
  bool softmax, generalised, squared;
  int classes;
  double pixels, epsilon, cross_entropy;
};
inline Numbers numbers_of(const SegmentationLossProblem& p) {
  const SegmentationLossOptions& o = p.options;
  return {o.softmax,
          o.generalised,
          o.squared && !o.generalised,
          static_cast<int>(p.classes),
          static_cast<double>(p.pixels),
          o.epsilon,
          o.cross_entropy};
}

// d(overlap loss)/dp of a pixel = target * g + own * (squared ? p : 1)
struct Slopes {
  double target, own;
};
struct Term {
  double loss;
  Slopes slopes;
};

// Weight of a class with `pixels` of the truth; `least` those of the smallest class there is.
constexpr double weight(double pixels, double least) {
  const double n = pixels > 0 ? pixels : least;
  return 1 / (n * n);
}

// 1 - 2 num / den for two classes, an organ and its outside.
constexpr Term organ_and_outside(const Numbers& n, const double* s) {
  const double overlap = s[0], prediction = s[1], inside = s[2], outside = n.pixels - inside;
  const double least = inside > 0 && (inside < outside || !(outside > 0)) ? inside : outside;
  const double w1 = weight(inside, least), w0 = weight(outside, least);
  const double num = w1 * overlap + w0 * (n.pixels - prediction - inside + overlap);
  const double den = w1 * (prediction + inside) + w0 * (2 * n.pixels - prediction - inside);
  const double dice = 2 * num / den;
  return {1 - dice, {-2 * (w1 + w0) / den, 2 * w0 / den + dice * (w1 - w0) / den}};
}

// Class `c`'s part of the overlap loss. `sums` are those of all classes, four each. Parts add up to
// the loss.
constexpr Term overlap_term(const Numbers& n, const double* sums, int c) {
  const double* s = sums + 4 * c;
  if (n.generalised && n.softmax) {
    double least = n.pixels, num = 0, den = 0;
    for (int k = 0; k < n.classes; ++k)
      if (sums[4 * k + 2] > 0 && sums[4 * k + 2] < least) least = sums[4 * k + 2];
    for (int k = 0; k < n.classes; ++k) {
      const double* other = sums + 4 * k;
      const double w = weight(other[2], least);
      num += w * other[0];
      den += w * (other[1] + other[2]);
    }
    const double w = weight(s[2], least), dice = 2 * num / den;
    return {(1 - dice) / n.classes, {-2 * w / den, dice * w / den}};
  }
  const int counted = n.softmax ? n.classes - 1 : n.classes;
  if (n.softmax && c == 0) return {0, {0, 0}};
  if (n.generalised) {
    Term term = organ_and_outside(n, s);
    term.loss /= counted;
    term.slopes.target /= counted;
    term.slopes.own /= counted;
    return term;
  }
  const double denominator = s[1] + s[2] + n.epsilon;
  const double dice = (2 * s[0] + n.epsilon) / denominator;
  return {(1 - dice) / counted,
          {-2 / (denominator * counted), (n.squared ? 2 : 1) * dice / (denominator * counted)}};
}

// What a pixel's cross entropy is divided by.
constexpr double cross_entropy_terms(const Numbers& n) {
  return n.softmax ? n.pixels : n.pixels * n.classes;
}

constexpr double total_loss(const Numbers& n, const double* sums) {
  double loss = 0, entropy = 0;
  for (int c = 0; c < n.classes; ++c) {
    loss += overlap_term(n, sums, c).loss;
    entropy += sums[4 * c + 3];
  }
  // A sum that is not finite must not be lost where its weight is 0.
  return n.cross_entropy > 0 ? loss + n.cross_entropy * entropy / cross_entropy_terms(n) : loss;
}

}  // namespace thorax::segmentation_math
