#include "apps/inference/lung_segmenter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/inference/organ_segmenter.h"
#include "data/organs.h"
#include "data/overlay.h"
#include "data/resize.h"
#include "models/lung_postprocess.h"

namespace thorax {
namespace {

constexpr int kStudySize = 512;

// Where the logits are positive, which is where the sigmoid exceeds 0.5.
Tensor positive(const Image& logits) {
  const Tensor mask = Tensor::empty({1, logits.height, logits.width, 1}, DType::u8);
  for (std::size_t i = 0; i < logits.pixels.size(); ++i)
    mask.data<std::uint8_t>()[i] = logits.pixels[i] > 0 ? 1 : 0;
  return mask;
}

float sigmoid(float logit) {
  return 1 / (1 + std::exp(-logit));
}

ImageU8 picture(const Tensor& mask) {
  ImageU8 image(static_cast<int>(mask.size(1)), static_cast<int>(mask.size(2)));
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = mask.data<std::uint8_t>()[i] != 0 ? 255 : 0;
  return image;
}

}  // namespace

LungSegmenter::LungSegmenter(const std::filesystem::path& checkpoint, double min_area,
                             const Compute& compute)
    : LungSegmenter(std::vector<std::string>{checkpoint.string()}, min_area, compute) {}

LungSegmenter::LungSegmenter(const std::vector<std::string>& checkpoints, double min_area,
                             const Compute& compute)
    : ensemble_(checkpoints, compute), min_area_(min_area), intensity_(ensemble_.intensity()) {
  THORAX_CHECK(min_area >= 0 && min_area <= 1e9,
               "[segment] min_area {}: a number of pixels of 512 x 512, from 0 to 1e9", min_area);
  for (std::size_t m = 0; m < checkpoints.size(); ++m) {
    const OrganOutputs& organs = ensemble_.input(m).organs;
    lungs_.push_back(organs.plain() ? std::vector<std::size_t>{} : lungs_among(organs.organs));
    THORAX_CHECK(
        organs.plain() || !lungs_.back().empty(),
        "[segment] {}: finds {}, none of which is the lungs (an organ named lungs, or left "
        "lung and right lung), which are wanted here; give the checkpoint of a segmenter "
        "that finds the lungs (--segmenter)",
        checkpoints[m], fmt::join(organs.organs, ", "));
  }
}

Lungs LungSegmenter::operator()(const Image& gray) const {
  return judged(logits({gray}).front(), gray);
}

std::vector<Image> LungSegmenter::logits(const std::vector<Image>& grays) const {
  std::vector<Image> result;
  for (std::vector<Image>&planes : ensemble_.logits(
           grays, false, [&](std::vector<Image>&&outputs, std::size_t member, bool /*mirrored*/) {
             if (lungs_[member].empty()) return std::move(outputs);
             return std::vector<Image>{
                 joined_logits(outputs, lungs_[member], ensemble_.input(member).organs.softmax)};
           }))
    result.push_back(std::move(planes.front()));
  return result;
}

Lungs LungSegmenter::judged(const Image& logits, const Image& gray) const {
  const LungMask lungs = lung_postprocess(positive(logits), {.min_area = min_area_});
  return {resize_nearest(picture(lungs.mask), gray.height, gray.width), lungs.area_512,
          static_cast<int>(lungs.regions.size()), lungs.kept,
          lungs.kept ? std::string() : fmt::format("lung area under {:.0f}", min_area_)};
}

std::vector<Lungs> LungSegmenter::operator()(const std::vector<Radiograph>& images) const {
  std::vector<Image> grays;
  for (const Radiograph& image : images) grays.push_back(image.gray);
  const std::vector<Image> planes = logits(grays);
  std::vector<Lungs> result;
  for (std::size_t n = 0; n < images.size(); ++n)
    result.push_back(images[n].blank.empty() ? judged(planes[n], grays[n])
                                             : Lungs{ImageU8(grays[n].height, grays[n].width), 0, 0,
                                                     false, images[n].blank_text()});
  return result;
}

LungSteps LungSegmenter::steps(const Image& gray) const {
  LungSteps steps;
  steps.gray = resize(gray, kStudySize, kStudySize);
  steps.probability = logits({gray}).front();
  const Tensor raw = positive(steps.probability);
  for (float& value : steps.probability.pixels) value = sigmoid(value);
  const LungMask lungs = lung_postprocess(raw, {.min_area = min_area_});
  steps.raw = picture(raw);
  steps.dilated = picture(lungs.dilated);
  steps.closed = picture(lungs.mask);
  steps.cut = keep_inside(steps.gray, steps.closed);
  steps.area = lungs.area_512;
  steps.regions = static_cast<int>(lungs.regions.size());
  steps.kept = lungs.kept;
  return steps;
}

}  // namespace thorax
