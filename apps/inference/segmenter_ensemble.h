// One segmenter, or several, over an image and, if wanted, its mirror image: the mean of their
// probabilities. What the outputs are of is its callers' business (segmenter.h, organ_segmenter.h).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apps/inference/compute.h"
#include "apps/inference/model_file.h"
#include "data/decode.h"
#include "data/image.h"

namespace thorax {

class SegmenterEnsemble {
 public:
  // Throws Error "[segment] ..." naming a file that holds no segmenter or is named twice, and two
  // files whose intensities differ.
  SegmenterEnsemble(const std::vector<std::string>& checkpoints, const Compute& compute);

  const std::vector<std::string>& files() const { return files_; }
  const ModelInput& input(std::size_t member) const { return members_[member].input; }
  // What whoever uses them should know, a line each.
  const std::vector<std::string>& notes() const { return notes_; }
  // Whether probabilities are means over an image and its mirror image (left and right swapped).
  void set_flips(bool flips) { flips_ = flips; }
  Intensity intensity() const { return members_.front().input.intensity; }
  // Of the checkpoint file's bytes; of several files one of all of theirs.
  const std::string& checksum() const { return checksum_; }

  // Makes planes of a network's outputs, both scaled to 512 x 512: `mirrored` says that the network
  // saw the mirror image. The planes are already turned back.
  using Planes = std::function<std::vector<Image>(std::vector<Image>&& outputs, std::size_t member,
                                                  bool mirrored)>;
  // Planes of each gray image (first index), computed as one batch. Of one member and view they are
  // what `planes` returned; of more, those of the mean probability: sigmoid of a plane, or softmax
  // over the planes.
  std::vector<std::vector<Image>> logits(const std::vector<Image>& grays, bool softmax,
                                         const Planes& planes) const;

 private:
  struct Member {
    std::unique_ptr<Model> model;
    ModelInput input;
  };
  std::vector<std::string> files_;
  std::vector<Member> members_;
  std::vector<std::string> notes_;
  bool flips_ = false;
  std::string checksum_;
  Compute compute_;
};

}  // namespace thorax
