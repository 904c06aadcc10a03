#include "apps/inference/segmenter_ensemble.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "apps/inference/mirror.h"
#include "data/resize.h"
#include "engine/io/checksum.h"

namespace thorax {
namespace {

constexpr int kSide = 512;

// The network's logits for each image (first index) and output, scaled to 512 x 512: scaling logits
// rather than masks keeps outlines smooth.
std::vector<std::vector<Image>> scaled_logits(const Model& model, int size,
                                              const std::vector<Image>& grays,
                                              const Compute& compute) {
  const auto count = static_cast<std::int64_t>(grays.size());
  const std::int64_t pixels = std::int64_t{size} * size;
  const Tensor input = Tensor::empty({count, size, size, 1});
  for (std::int64_t n = 0; n < count; ++n) {
    const Image scaled = resize(grays[static_cast<std::size_t>(n)], size, size);
    normalise(scaled.pixels, input.data<float>() + n * pixels);
  }
  const NoGrad no_grad;
  const Tensor logits = model.logits(Variable(input.to(compute.device)), compute.precision)
                            .value()
                            .to(Device{})
                            .to_contiguous();
  check_logits(logits, "segment", count == 1 ? "the image" : fmt::format("{} images", count));
  const std::int64_t outputs = logits.size(3);
  std::vector<std::vector<Image>> result(grays.size());
  for (std::int64_t n = 0; n < count; ++n)
    for (std::int64_t c = 0; c < outputs; ++c) {
      Image plane(size, size);
      for (std::int64_t i = 0; i < pixels; ++i)
        plane.pixels[static_cast<std::size_t>(i)] =
            logits.data<float>()[(n * pixels + i) * outputs + c];
      result[static_cast<std::size_t>(n)].push_back(resize(plane, kSide, kSide));
    }
  return result;
}

void to_probabilities(std::vector<Image>& planes, bool softmax) {
  if (!softmax) {
    for (Image& plane : planes)
      for (float& value : plane.pixels) value = 1 / (1 + std::exp(-value));
    return;
  }
  for (std::size_t i = 0; i < planes.front().pixels.size(); ++i) {
    float highest = planes.front().pixels[i], sum = 0;
    for (const Image& plane : planes) highest = std::max(highest, plane.pixels[i]);
    for (Image& plane : planes) sum += plane.pixels[i] = std::exp(plane.pixels[i] - highest);
    for (Image& plane : planes) plane.pixels[i] /= sum;
  }
}

}  // namespace

SegmenterEnsemble::SegmenterEnsemble(const std::vector<std::string>& checkpoints,
                                     const Compute& compute)
    : files_(checkpoints), compute_(compute) {
  THORAX_CHECK(!files_.empty(), "[segment] no segmenter: name a checkpoint (--model, --segmenter)");
  std::set<std::filesystem::path> seen;
  Checksum all;
  for (const std::string& file : files_) {
    std::error_code error;
    THORAX_CHECK(seen.insert(std::filesystem::weakly_canonical(file, error)).second,
                 "[segment] {}: is named twice, and would count twice in the mean; name it once",
                 file);
    TrainedModel trained = load_trained(file, "segmenter");
    trained.model->to(compute.device);
    notes_.insert(notes_.end(), trained.notes.begin(), trained.notes.end());
    members_.push_back({std::move(trained.model), std::move(trained.input)});
    THORAX_CHECK(members_.back().input.intensity == intensity(),
                 "[segment] {} and {}: were trained with different intensities, {} and {}, and one "
                 "picture cannot be read for both; use networks of one intensity",
                 files_.front(), file, name_of(intensity()),
                 name_of(members_.back().input.intensity));
    checksum_ = file_checksum(file);
    all.add(checksum_);
  }
  if (files_.size() > 1) checksum_ = all.hex();
}

std::vector<std::vector<Image>> SegmenterEnsemble::logits(const std::vector<Image>& grays,
                                                          bool softmax,
                                                          const Planes& planes) const {
  const auto planes_of = [&](std::size_t member, const std::vector<Image>& images, bool mirrored) {
    const Member& m = members_[member];
    std::vector<std::vector<Image>> result =
        scaled_logits(*m.model, m.input.size, images, compute_);
    for (std::vector<Image>& outputs : result) {
      if (mirrored)
        for (Image& plane : outputs) plane = mirror(plane);
      outputs = planes(std::move(outputs), member, mirrored);
    }
    return result;
  };
  std::vector<std::vector<Image>> sums = planes_of(0, grays, false);
  if (members_.size() == 1 && !flips_) return sums;
  for (std::vector<Image>& image : sums) to_probabilities(image, softmax);
  const auto add = [&](std::vector<std::vector<Image>> more) {
    for (std::size_t n = 0; n < more.size(); ++n) {
      to_probabilities(more[n], softmax);
      for (std::size_t c = 0; c < more[n].size(); ++c)
        for (std::size_t i = 0; i < more[n][c].pixels.size(); ++i)
          sums[n][c].pixels[i] += more[n][c].pixels[i];
    }
  };
  for (std::size_t m = 1; m < members_.size(); ++m) add(planes_of(m, grays, false));
  if (flips_) {
    std::vector<Image> mirrored;
    for (const Image& gray : grays) mirrored.push_back(mirror(gray));
    for (std::size_t m = 0; m < members_.size(); ++m) add(planes_of(m, mirrored, true));
  }
  const auto count = static_cast<float>(members_.size() * (flips_ ? 2 : 1));
  for (std::vector<Image>& image : sums)
    for (Image& plane : image)
      for (float& value : plane.pixels) {
        const float p = value / count;
        value = softmax ? std::log(p) : std::log(p) - std::log1p(-p);
      }
  return sums;
}

}  // namespace thorax
