// `thorax segment` as a call: a radiograph in, the lungs or other organs out, as the checkpoints
// say.
//
//   const thorax::Segmenter segmenter({.checkpoints = {"runs/lungs/last.safetensors"}});
//   const thorax::Segmentation s = segmenter("image.png");
//   save_image("lungs.png", s.organs[0].mask);
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "apps/inference/compute.h"
#include "apps/inference/lung_segmenter.h"
#include "apps/inference/organ_segmenter.h"
#include "apps/inference/radiograph.h"

namespace thorax {

struct SegmenterOptions {
  std::vector<std::string> checkpoints;  // the mean of their probabilities decides
  std::string tta = "none";              // flip: also of the mirror image
  std::string intensity = {};            // empty: as in training
  // Smaller lungs, in pixels of 512 x 512, are not kept; 50000 unless given. An Error for a network
  // of several organs, and without Algorithm 1.
  std::optional<double> min_area = {};
  Postprocess postprocess = Postprocess::automatic;
  Compute compute = {};
};

struct Segmentation {
  std::string image;                    // name of the source
  Image gray;                           // as it was read, 0..1
  std::vector<OrganFound> organs;       // in the order of Segmenter::organs()
  bool kept = true;                     // false: shows nothing, or too little lung
  std::string reason = {};              // why not
  std::vector<std::string> notes = {};  // what was done to the image on the way in
};

class Segmenter {
 public:
  // Throws Error as LungSegmenter and OrganSegmenter do.
  explicit Segmenter(const SegmenterOptions& options);

  // May be called from several threads; calls of one segmenter wait for one another.
  Segmentation operator()(const ImageSource& source) const;

  // Names and values; {"lungs"}, {1} of a network with one organ.
  const OrganOutputs& organs() const { return organs_; }
  // What whoever uses it should know of the files, a line each.
  const std::vector<std::string>& notes() const { return notes_; }
  Intensity intensity() const;
  // The study's segmenter of the lungs, with Algorithm 1 and a least area; null for any other,
  // which is then several(). For many images at once.
  const LungSegmenter* lungs() const { return lungs_.get(); }
  const OrganSegmenter* several() const { return several_.get(); }

 private:
  Compute compute_;
  std::unique_ptr<LungSegmenter> lungs_;
  std::unique_ptr<OrganSegmenter> several_;
  OrganOutputs organs_;
  std::vector<std::string> notes_;
  mutable std::mutex mutex_;
};

}  // namespace thorax
