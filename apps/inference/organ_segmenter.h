// A trained segmenter of several organs as a program uses it: a radiograph in, a mask of each organ
// out.
#pragma once

#include <string>
#include <vector>

#include "apps/inference/organ_outputs.h"
#include "apps/inference/radiograph.h"
#include "apps/inference/segmenter_ensemble.h"
#include "data/image.h"

namespace thorax {

// One organ's, or several organs' joined, against all else: the logit of the probability that a
// pixel is theirs. Of sigmoids the largest; of a softmax from all outputs, where it is above 0 when
// they hold more than half of the probability.
Image joined_logits(const std::vector<Image>& outputs, const std::vector<std::size_t>& organs,
                    bool softmax);

// Which organs Algorithm 1 of the study (models/lung_postprocess.h) is applied to.
enum class Postprocess {
  automatic,  // those that are lungs by their names
  lungs,      // the same, and an Error where there are none
  none,
};
Postprocess parse_postprocess(const std::string& text);

struct OrganFound {
  ImageU8 mask;              // size of the image, 0 or 255
  std::int64_t pixels = 0;   // of the mask
  double area_512 = 0;       // of the mask at 512 x 512, before it was scaled to the image
  std::int64_t regions = 0;  // connected regions there
};

class OrganSegmenter {
 public:
  // Several segmenters: the mean of their probabilities decides, by organ. Throws Error as
  // SegmenterEnsemble, and naming two files whose organs differ. A segmenter of one organ without a
  // name counts as one of the lungs.
  OrganSegmenter(const std::vector<std::string>& checkpoints, Postprocess postprocess,
                 const Compute& compute);

  const OrganOutputs& organs() const { return organs_; }
  // Whether probabilities are means over an image and its mirror image, where left and right organs
  // change places. Throws Error "[organs] ..." for an organ of which only one side is found.
  void set_flips(bool flips);
  Intensity intensity() const { return intensity_; }
  void set_intensity(Intensity intensity) { intensity_ = intensity; }
  // SegmenterEnsemble::checksum.
  const std::string& checksum() const { return ensemble_.checksum(); }
  // What whoever uses it should know, a line each.
  const std::vector<std::string>& notes() const { return ensemble_.notes(); }
  // For each image its organs, in order, computed as one batch; none of them is in an image that
  // shows nothing. With softmax no two share a pixel:
  // what Algorithm 1 adds to a lung is taken from the background alone.
  std::vector<std::vector<OrganFound>> operator()(const std::vector<Radiograph>& images) const;
  std::vector<OrganFound> operator()(const Image& gray) const;

 private:
  SegmenterEnsemble ensemble_;
  OrganOutputs organs_;
  std::vector<bool> lungs_;            // by organ: Algorithm 1 is applied
  std::vector<std::size_t> mirrored_;  // by organ: the one in its place in a mirror image
  Intensity intensity_;
};

// Organs as a label map: the value of the organ, 0 elsewhere. For organs that do not overlap.
ImageU8 label_map(const std::vector<OrganFound>& found, const OrganOutputs& organs);

}  // namespace thorax
