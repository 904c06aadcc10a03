// The trained UNet as a program uses it: a radiograph in, the lungs out.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/command.h"
#include "data/image.h"
#include "models/model.h"

namespace thorax::app {

struct Lungs {
  ImageU8 mask;     // size of the image, 0 or 255, after Algorithm 1
  double area = 0;  // pixels of the mask on an image scaled to 512 x 512
  int regions = 0;  // connected regions
  bool kept = false;
};

// The study's way: scale to a square, UNet, sigmoid > 0.5, scale the mask to 512 x 512 (the
// resolution that its iteration counts and its 50,000 pixels are meant for), Algorithm 1, and back
// to the size of the image.
class LungSegmenter {
 public:
  // Rebuilds the network from a checkpoint alone; throws Error naming the file when it holds no
  // segmenter.
  LungSegmenter(const std::filesystem::path& checkpoint, double min_area, const Compute& compute);

  // Side of the square that the network sees.
  int size() const { return size_; }
  double min_area() const { return min_area_; }
  // Of the checkpoint file's bytes.
  const std::string& checksum() const { return checksum_; }
  // Masks of gray images of any size, computed as one batch.
  std::vector<Lungs> operator()(const std::vector<Image>& grays) const;
  Lungs operator()(const Image& gray) const;

 private:
  std::unique_ptr<Model> model_;
  int size_ = 0;
  std::string checksum_;
  double min_area_;
  Compute compute_;
};

}  // namespace thorax::app
