#include "apps/segmenter.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/model_file.h"
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

ImageU8 picture(const Tensor& mask) {
  ImageU8 image(static_cast<int>(mask.size(1)), static_cast<int>(mask.size(2)));
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = mask.data<std::uint8_t>()[i] != 0 ? 255 : 0;
  return image;
}

}  // namespace

LungSegmenter::LungSegmenter(const std::filesystem::path& checkpoint, double min_area,
                             const Compute& compute)
    : min_area_(min_area), compute_(compute) {
  TrainedModel trained = load_trained(checkpoint, "segmenter");
  size_ = trained.input.size;
  model_ = std::move(trained.model);
  intensity_ = trained.input.intensity;
  checksum_ = file_checksum(checkpoint);
  model_->to(compute.device);
}

Lungs LungSegmenter::operator()(const Image& gray) const {
  return (*this)(std::vector<Image>{gray}).front();
}

std::vector<Image> LungSegmenter::logits(const std::vector<Image>& grays) const {
  const auto count = static_cast<std::int64_t>(grays.size());
  const std::int64_t pixels = std::int64_t{size_} * size_;
  const Tensor input = Tensor::empty({count, size_, size_, 1});
  for (std::int64_t n = 0; n < count; ++n) {
    const Image scaled = resize(grays[static_cast<std::size_t>(n)], size_, size_);
    normalise(scaled.pixels, input.data<float>() + n * pixels);
  }
  const NoGrad no_grad;
  const Tensor logits = model_->logits(Variable(input.to(compute_.device)), compute_.precision)
                            .value()
                            .to(Device{})
                            .to_contiguous();
  check_logits(logits, "segment", count == 1 ? "the image" : fmt::format("{} images", count));
  std::vector<Image> result;
  for (std::int64_t n = 0; n < count; ++n) {
    Image plane(size_, size_);
    std::copy_n(logits.data<float>() + n * pixels, pixels, plane.pixels.begin());
    // Scaling the logits rather than the mask keeps the outline smooth.
    result.push_back(resize(plane, kStudySize, kStudySize));
  }
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
  for (float& value : steps.probability.pixels) value = 1 / (1 + std::exp(-value));
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
