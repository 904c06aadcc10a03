// `thorax predict` as a call: a radiograph in, what trained classifiers say of it out. Everything
// that the checkpoints say is done here: reading and scaling, cutting the lungs, mirror images, the
// mean of an ensemble, temperature and threshold.
//
//   const thorax::Predictor predictor({.classifier = {.files = {"runs/kfold"}},
//                                      .segmenters = {"runs/lungs/last.safetensors"}});
//   const thorax::Prediction p = predictor("image.dcm");
//   fmt::print("{} {}\n", p.verdict, p.opinion.probabilities[1]);
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "apps/inference/compute.h"
#include "apps/inference/ensemble.h"
#include "apps/inference/ensemble_maps.h"
#include "apps/inference/lung_segmenter.h"
#include "apps/inference/radiograph.h"

namespace thorax {

struct PredictorOptions {
  ClassifierOptions classifier;
  std::vector<std::string> segmenters = {};  // checkpoints that find the lungs: the mean of theirs
  double min_area = 50000;                   // smaller lungs, in pixels of 512 x 512: rejected
  std::optional<double> threshold = {};      // instead of the checkpoint's
  Compute compute = {};
};

// Where a classifier looks: the map at the size of the image, 0..1 (its maximum is 1; all zero
// where nothing speaks for the class).
struct Heatmap {
  Image map;
  std::size_t explained = 0;        // index of the class or finding
  double peak = 0;                  // largest value before the map was divided by it
  std::vector<std::string> layers;  // of each classifier
};

struct Prediction {
  std::string image;                // name of the source
  Image gray;                       // as it was read, 0..1
  std::optional<Lungs> lungs = {};  // with a segmenter; none of an image that shows nothing
  Opinion opinion = {};             // empty when the image was rejected
  // The class (of several findings 1 when there is one, else 0); none when the image was rejected.
  std::optional<std::size_t> predicted = {};
  std::string verdict = "rejected";     // that class's name or the findings'; or why there is none
  std::string reason = {};              // of a rejection
  std::vector<std::string> notes = {};  // what was done to the image on the way in
  std::optional<Heatmap> heatmap = {};  // where it was asked for and the image not rejected
  std::string overlay = {};             // the picture of the lungs, where one was written
};

class Predictor {
 public:
  // Throws Error as Ensemble and LungSegmenter do, and "[predict] ..." for a threshold with more
  // than two classes and for a classifier of a view that needs the lungs without a segmenter.
  explicit Predictor(const PredictorOptions& options);

  // May be called from several threads; calls of one predictor wait for one another, and each
  // computes on all threads of engine/runtime/parallel.h.
  Prediction operator()(const ImageSource& source) const { return predict(read(source)); }
  // With a heatmap, of the named layer, method and class (models/grad_cam.h).
  Prediction operator()(const ImageSource& source, const CamOptions& heatmap) const {
    return predict(read(source), &heatmap);
  }

  // The same in two steps, for whoever goes on when a file cannot be read.
  struct Reading {
    Radiograph image;
    Image for_segmenter;  // where that was trained with another intensity; else empty
  };
  Reading read(const ImageSource& source) const;
  Prediction predict(Reading reading, const CamOptions* heatmap = nullptr) const;

  // What whoever uses it should know of the files, a line each.
  const std::vector<std::string>& notes() const { return notes_; }
  const Ensemble& classifier() const { return classifier_; }
  // Null without one.
  const LungSegmenter* segmenter() const { return segmenter_.get(); }
  // Of the positive one of two classes, of each finding; of more classes empty: the largest
  // probability decides.
  const std::vector<double>& thresholds() const { return thresholds_; }
  double min_area() const { return min_area_; }

 private:
  Heatmap heatmap(const Image& seen, const Prediction& p, const CamOptions& options) const;

  Compute compute_;
  Ensemble classifier_;
  std::unique_ptr<LungSegmenter> segmenter_;
  std::vector<double> thresholds_;
  double min_area_;
  std::vector<std::string> notes_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::vector<std::string>> layers_;  // by the name asked for
};

}  // namespace thorax
