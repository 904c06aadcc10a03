// A trained segmenter of several organs as a program uses it: a radiograph in, a mask of each organ
// out.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/command.h"
#include "apps/organ_outputs.h"
#include "data/decode.h"
#include "data/image.h"
#include "models/model.h"

namespace thorax::app {

// The network's logits for each image (first index) and output, scaled to 512 x 512: scaling logits
// rather than masks keeps outlines smooth. `size` is the side of the network's input.
std::vector<std::vector<Image>> scaled_logits(const Model& model, int size,
                                              const std::vector<Image>& grays,
                                              const Compute& compute);
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
  // Throws Error naming the file when it holds no segmenter. A segmenter of one organ without a
  // name counts as one of the lungs.
  OrganSegmenter(const std::filesystem::path& checkpoint, Postprocess postprocess,
                 const Compute& compute);

  const OrganOutputs& organs() const { return organs_; }
  Intensity intensity() const { return intensity_; }
  void set_intensity(Intensity intensity) { intensity_ = intensity; }
  // Of the checkpoint file's bytes.
  const std::string& checksum() const { return checksum_; }
  // For each image its organs, in order, computed as one batch. With softmax no two share a pixel:
  // what Algorithm 1 adds to a lung is taken from the background alone.
  std::vector<std::vector<OrganFound>> operator()(const std::vector<Image>& grays) const;

 private:
  std::unique_ptr<Model> model_;
  int size_ = 0;
  std::string checksum_;
  OrganOutputs organs_;
  std::vector<bool> lungs_;  // by organ: Algorithm 1 is applied
  Intensity intensity_ = Intensity::depth;
  Compute compute_;
};

// Organs as a label map: the value of the organ, 0 elsewhere. For organs that do not overlap.
ImageU8 label_map(const std::vector<OrganFound>& found, const OrganOutputs& organs);

}  // namespace thorax::app
