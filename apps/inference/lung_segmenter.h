// The trained UNet as a program uses it: a radiograph in, the lungs out.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/inference/radiograph.h"
#include "apps/inference/segmenter_ensemble.h"
#include "data/image.h"

namespace thorax {

struct Lungs {
  ImageU8 mask;     // size of the image, 0 or 255, after Algorithm 1
  double area = 0;  // pixels of the mask on an image scaled to 512 x 512
  int regions = 0;  // connected regions
  bool kept = false;
  std::string reason = {};  // why it was not kept
};

// What happens on the way, every picture 512 x 512: the study's Figure 6.
struct LungSteps {
  Image gray;         // the radiograph
  Image probability;  // sigmoid of the UNet's logits, 0..1
  ImageU8 raw;        // probability > 0.5; 0 or 255, as the two below
  ImageU8 dilated;    // after the dilation
  ImageU8 closed;     // after the closing: the mask that is used
  Image cut;          // the radiograph inside of it
  double area = 0;    // of the mask, pixels
  int regions = 0;    // its connected regions
  bool kept = false;  // whether the area suffices
};

// The study's way: scale to a square, UNet, sigmoid > 0.5, scale the mask to 512 x 512 (the
// resolution that its iteration counts and its 50,000 pixels are meant for), Algorithm 1, and back
// to the size of the image.
class LungSegmenter {
 public:
  // Rebuilds the network from a checkpoint alone; throws Error naming the file when it holds no
  // segmenter, or one of several organs none of which is the lungs.
  LungSegmenter(const std::filesystem::path& checkpoint, double min_area, const Compute& compute);
  // Several segmenters: the mean of their probabilities decides. Throws Error as SegmenterEnsemble.
  LungSegmenter(const std::vector<std::string>& checkpoints, double min_area,
                const Compute& compute);

  // Side of the square that the (first) network sees.
  int size() const { return ensemble_.input(0).size; }
  // Whether probabilities are means over an image and its mirror image.
  void set_flips(bool flips) { ensemble_.set_flips(flips); }
  double min_area() const { return min_area_; }
  // How files are read for it: as in training, unless changed.
  Intensity intensity() const { return intensity_; }
  void set_intensity(Intensity intensity) { intensity_ = intensity; }
  // SegmenterEnsemble::checksum.
  const std::string& checksum() const { return ensemble_.checksum(); }
  // What whoever uses it should know, a line each.
  const std::vector<std::string>& notes() const { return ensemble_.notes(); }
  // Masks of gray images of any size, computed as one batch. An image that shows nothing has no
  // lungs.
  std::vector<Lungs> operator()(const std::vector<Radiograph>& images) const;
  Lungs operator()(const Image& gray) const;
  // The same for one image, with every step.
  LungSteps steps(const Image& gray) const;

 private:
  // Logits of each image, scaled to 512 x 512; of several members or views those of the mean
  // probability.
  std::vector<Image> logits(const std::vector<Image>& grays) const;
  Lungs judged(const Image& logits, const Image& gray) const;

  SegmenterEnsemble ensemble_;
  // By member, of several organs those that are the lungs, joined; empty where the one output is
  // the lungs.
  std::vector<std::vector<std::size_t>> lungs_;
  double min_area_;
  Intensity intensity_;
};

}  // namespace thorax
