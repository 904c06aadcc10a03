#include "apps/segmenter.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/model_file.h"
#include "apps/organ_segmenter.h"
#include "apps/views.h"
#include "data/organs.h"
#include "data/overlay.h"
#include "data/resize.h"
#include "engine/io/checksum.h"
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
    : min_area_(min_area), compute_(compute) {
  for (const std::string& checkpoint : checkpoints) {
    TrainedModel trained = load_trained(checkpoint, "segmenter");
    if (members_.empty()) {
      intensity_ = trained.input.intensity;
      checksum_ = file_checksum(checkpoint);
    }
    THORAX_CHECK(trained.input.intensity == intensity_,
                 "[segment] {} and {}: were trained with different intensities, {} and {}: one "
                 "picture cannot be read for both",
                 checkpoints.front(), checkpoint, name_of(intensity_),
                 name_of(trained.input.intensity));
    Member member;
    if (const OrganOutputs& organs = trained.input.organs; !organs.plain()) {
      member.lungs = lungs_among(organs.organs);
      member.softmax = organs.softmax;
      THORAX_CHECK(
          !member.lungs.empty(),
          "[segment] {}: finds {}, none of which is the lungs (an organ named lungs, or left "
          "lung and right lung), which are wanted here; give the checkpoint of a segmenter "
          "that finds the lungs (--segmenter)",
          checkpoint, fmt::join(organs.organs, ", "));
    }
    trained.model->to(compute.device);
    member.model = std::move(trained.model);
    member.size = trained.input.size;
    members_.push_back(std::move(member));
  }
}

Lungs LungSegmenter::operator()(const Image& gray) const {
  return (*this)(std::vector<Image>{gray}).front();
}

std::vector<Image> LungSegmenter::logits(const std::vector<Image>& grays) const {
  std::vector<Image> first = logits_of(members_.front(), grays);
  if (members_.size() == 1 && !flips_) return first;
  for (Image& plane : first)
    for (float& value : plane.pixels) value = sigmoid(value);
  const auto add = [&](const std::vector<Image>& planes, bool back) {
    for (std::size_t n = 0; n < planes.size(); ++n) {
      const Image plane = back ? mirror(planes[n]) : planes[n];
      for (std::size_t i = 0; i < plane.pixels.size(); ++i)
        first[n].pixels[i] += sigmoid(plane.pixels[i]);
    }
  };
  for (std::size_t m = 1; m < members_.size(); ++m) add(logits_of(members_[m], grays), false);
  if (flips_) {
    std::vector<Image> mirrored;
    for (const Image& gray : grays) mirrored.push_back(mirror(gray));
    for (const Member& member : members_) add(logits_of(member, mirrored), true);
  }
  const auto count = static_cast<float>(members_.size() * (flips_ ? 2 : 1));
  for (Image& plane : first)
    for (float& value : plane.pixels) {
      const float p = value / count;
      value = std::log(p) - std::log1p(-p);  // its sign, and its sigmoid, are those of the mean
    }
  return first;
}

std::vector<Image> LungSegmenter::logits_of(const Member& member,
                                            const std::vector<Image>& grays) const {
  std::vector<Image> result;
  for (std::vector<Image>& outputs : scaled_logits(*member.model, member.size, grays, compute_))
    result.push_back(member.lungs.empty() ? std::move(outputs.front())
                                          : joined_logits(outputs, member.lungs, member.softmax));
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
