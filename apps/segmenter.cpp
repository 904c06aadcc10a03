#include "apps/segmenter.h"

#include <nlohmann/json.hpp>

#include "apps/model_file.h"
#include "data/resize.h"
#include "engine/io/checksum.h"
#include "models/factory.h"
#include "models/lung_postprocess.h"

namespace thorax::app {

LungSegmenter::LungSegmenter(const std::filesystem::path& checkpoint, double min_area,
                             const Compute& compute)
    : min_area_(min_area), compute_(compute) {
  const ModelInput input = read_model_input(checkpoint);
  THORAX_CHECK(input.task == "segmenter", "[segment] {}: holds a {}, not a segmenter",
               checkpoint.string(), input.task);
  size_ = input.size;
  checksum_ = file_checksum(checkpoint);
  model_ = load_model(checkpoint);
  model_->to(compute.device);
}

Lungs LungSegmenter::operator()(const Image& gray) const {
  return (*this)(std::vector<Image>{gray}).front();
}

std::vector<Lungs> LungSegmenter::operator()(const std::vector<Image>& grays) const {
  constexpr int kStudySize = 512;
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
  std::vector<Lungs> result;
  for (std::int64_t n = 0; n < count; ++n) {
    const Image& gray = grays[static_cast<std::size_t>(n)];
    Image plane(size_, size_);
    std::copy_n(logits.data<float>() + n * pixels, pixels, plane.pixels.begin());
    // Scaling the logits rather than the mask keeps the outline smooth.
    const Image at_512 = resize(plane, kStudySize, kStudySize);
    const Tensor raw = Tensor::empty({1, kStudySize, kStudySize, 1}, DType::u8);
    for (std::size_t i = 0; i < at_512.pixels.size(); ++i)
      raw.data<std::uint8_t>()[i] = at_512.pixels[i] > 0 ? 1 : 0;
    const LungMask lungs = lung_postprocess(raw, {.min_area = min_area_});
    ImageU8 mask(kStudySize, kStudySize);
    for (std::size_t i = 0; i < mask.pixels.size(); ++i)
      mask.pixels[i] = lungs.mask.data<std::uint8_t>()[i] != 0 ? 255 : 0;
    result.push_back({resize_nearest(mask, gray.height, gray.width), lungs.area_512,
                      static_cast<int>(lungs.regions.size()), lungs.kept});
  }
  return result;
}

}  // namespace thorax::app
