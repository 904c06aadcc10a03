#include "apps/segmenter.h"

#include <algorithm>
#include <cmath>

#include "apps/organ_segmenter.h"
#include "data/organs.h"
#include "data/overlay.h"
#include "data/resize.h"
#include "models/lung_postprocess.h"

namespace thorax::app {
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
  return (*this)(std::vector<Image>{gray}).front();
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

std::vector<Lungs> LungSegmenter::operator()(const std::vector<Image>& grays) const {
  const std::vector<Image> planes = logits(grays);
  std::vector<Lungs> result;
  for (std::size_t n = 0; n < grays.size(); ++n) {
    const LungMask lungs = lung_postprocess(positive(planes[n]), {.min_area = min_area_});
    result.push_back({resize_nearest(picture(lungs.mask), grays[n].height, grays[n].width),
                      lungs.area_512, static_cast<int>(lungs.regions.size()), lungs.kept});
  }
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

}  // namespace thorax::app
