#include "apps/inference/segmenter.h"

#include <fmt/format.h>

#include "apps/inference/mirror.h"
#include "data/organs.h"
#include "engine/runtime/device.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr double kStudyMinArea = 50000;

}  // namespace

Segmenter::Segmenter(const SegmenterOptions& options) : compute_(options.compute) {
  THORAX_CHECK(!options.checkpoints.empty(), "[segment] no segmenter: name a checkpoint (--model)");
  const std::string& first = options.checkpoints.front();
  const ModelInput input = read_model_input(std::filesystem::path(first));
  const bool flips = parse_tta(options.tta);
  // Of another task: the error that says so is LungSegmenter's.
  if (input.task == "segmenter" &&
      (!input.organs.plain() || options.postprocess == Postprocess::none)) {
    THORAX_CHECK(!options.min_area,
                 "[segment] --min-area rejects images by their lungs after Algorithm 1; {}",
                 input.organs.plain() ? "--postprocess none leaves it out"
                                      : fmt::format("{} finds {}: their areas are in "
                                                    "segmentation.csv",
                                                    first, fmt::join(input.organs.organs, ", ")));
    several_ = std::make_unique<OrganSegmenter>(options.checkpoints, options.postprocess, compute_);
    notes_ = several_->notes();
    several_->set_intensity(
        chosen_intensity(options.intensity, several_->intensity(), first, notes_));
    several_->set_flips(flips);
    organs_ = several_->organs();
    return;
  }
  lungs_ = std::make_unique<LungSegmenter>(options.checkpoints,
                                           options.min_area.value_or(kStudyMinArea), compute_);
  notes_ = lungs_->notes();
  lungs_->set_intensity(chosen_intensity(options.intensity, lungs_->intensity(), first, notes_));
  lungs_->set_flips(flips);
  organs_ = {{kLungs}, {1}, false};
}

Intensity Segmenter::intensity() const {
  return lungs_ ? lungs_->intensity() : several_->intensity();
}

Segmentation Segmenter::operator()(const ImageSource& source) const {
  std::vector<Radiograph> images{read_radiograph(source, intensity())};
  const std::scoped_lock lock(mutex_);
  const DeviceScope device(compute_.device);
  Segmentation s;
  if (lungs_) {
    Lungs lungs = (*lungs_)(images).front();
    OrganFound& organ = s.organs.emplace_back();
    organ.pixels = mask_area(lungs.mask);
    organ.mask = std::move(lungs.mask);
    organ.area_512 = lungs.area;
    organ.regions = lungs.regions;
    s.kept = lungs.kept;
    s.reason = std::move(lungs.reason);
  } else {
    s.organs = (*several_)(images).front();
    s.reason = images.front().blank_text();
    s.kept = s.reason.empty();
  }
  s.image = std::move(images.front().name);
  s.gray = std::move(images.front().gray);
  s.notes = std::move(images.front().notes);
  return s;
}

}  // namespace thorax
