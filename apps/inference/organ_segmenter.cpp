#include "apps/inference/organ_segmenter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/organs.h"
#include "data/resize.h"
#include "kernels/morphology/morphology.h"
#include "models/lung_postprocess.h"

namespace thorax {
namespace {

constexpr int kSide = 512;

Tensor tensor_of(const ImageU8& mask) {
  const Tensor out = Tensor::empty({1, mask.height, mask.width, 1}, DType::u8);
  for (std::size_t i = 0; i < mask.pixels.size(); ++i)
    out.data<std::uint8_t>()[i] = mask.pixels[i] != 0;
  return out;
}

// At 512 x 512, 0 or 255, by organ.
std::vector<ImageU8> decided(const std::vector<Image>& outputs, std::size_t organs, bool softmax) {
  std::vector<ImageU8> masks(organs, ImageU8(kSide, kSide));
  for (std::size_t i = 0; i < outputs.front().pixels.size(); ++i) {
    if (!softmax) {
      for (std::size_t k = 0; k < organs; ++k)
        if (outputs[k].pixels[i] > 0) masks[k].pixels[i] = 255;
      continue;
    }
    std::size_t best = 0;
    for (std::size_t c = 1; c < outputs.size(); ++c)
      if (outputs[c].pixels[i] > outputs[best].pixels[i]) best = c;
    if (best > 0) masks[best - 1].pixels[i] = 255;
  }
  return masks;
}

// "lungs 1, heart 2 (softmax)".
std::string described(const OrganOutputs& organs) {
  if (organs.plain()) return "one organ without a name";
  std::vector<std::string> names;
  for (std::size_t k = 0; k < organs.organs.size(); ++k)
    names.push_back(fmt::format("{} {}", organs.organs[k], organs.values[k]));
  return fmt::format("{} ({})", fmt::join(names, ", "), organs.softmax ? "softmax" : "sigmoid");
}

}  // namespace

Image joined_logits(const std::vector<Image>& outputs, const std::vector<std::size_t>& organs,
                    bool softmax) {
  Image joined = outputs.front();
  std::vector<bool> own(outputs.size(), false);
  for (const std::size_t k : organs) own.at(k + (softmax ? 1 : 0)) = true;
  for (std::size_t i = 0; i < joined.pixels.size(); ++i) {
    float highest[2] = {-INFINITY, -INFINITY};  // of the others, of the own
    for (std::size_t c = 0; c < outputs.size(); ++c)
      highest[own[c]] = std::max(highest[own[c]], outputs[c].pixels[i]);
    if (!softmax) {
      joined.pixels[i] = highest[1];
      continue;
    }
    double sums[2] = {0, 0};
    for (std::size_t c = 0; c < outputs.size(); ++c)
      sums[own[c]] += std::exp(static_cast<double>(outputs[c].pixels[i] - highest[own[c]]));
    joined.pixels[i] = static_cast<float>(static_cast<double>(highest[1]) + std::log(sums[1]) -
                                          static_cast<double>(highest[0]) - std::log(sums[0]));
  }
  return joined;
}

Postprocess parse_postprocess(const std::string& text) {
  if (text == "auto") return Postprocess::automatic;
  if (text == "lungs") return Postprocess::lungs;
  THORAX_CHECK(text == "none", "[segment] --postprocess {}: must be auto, lungs or none", text);
  return Postprocess::none;
}

OrganSegmenter::OrganSegmenter(const std::vector<std::string>& checkpoints, Postprocess postprocess,
                               const Compute& compute)
    : ensemble_(checkpoints, compute),
      organs_(ensemble_.input(0).organs),
      intensity_(ensemble_.intensity()) {
  for (std::size_t m = 1; m < checkpoints.size(); ++m)
    THORAX_CHECK(ensemble_.input(m).organs == organs_,
                 "[segment] {} and {}: find {} and {}, and only probabilities of the same organs "
                 "have a mean; use networks of one data set and one --activation",
                 checkpoints.front(), checkpoints[m], described(organs_),
                 described(ensemble_.input(m).organs));
  if (organs_.plain()) organs_ = {{kLungs}, {1}, false};
  for (const std::string& name : organs_.organs)
    lungs_.push_back(postprocess != Postprocess::none && is_lung(name));
  THORAX_CHECK(postprocess != Postprocess::lungs ||
                   std::find(lungs_.begin(), lungs_.end(), true) != lungs_.end(),
               "[segment] {}: --postprocess lungs: none of its organs ({}) is a lung; use "
               "--postprocess none",
               checkpoints.front(), fmt::join(organs_.organs, ", "));
}

void OrganSegmenter::set_flips(bool flips) {
  if (flips) mirrored_ = mirrored_organs(organs_.organs);
  ensemble_.set_flips(flips);
}

std::vector<OrganFound> OrganSegmenter::operator()(const Image& gray) const {
  return (*this)(std::vector<Radiograph>{{{}, gray, {}, {}}}).front();
}

std::vector<std::vector<OrganFound>> OrganSegmenter::operator()(
    const std::vector<Radiograph>& images) const {
  std::vector<Image> grays;
  for (const Radiograph& image : images) grays.push_back(image.gray);
  const std::vector<std::vector<Image>> logits = ensemble_.logits(
      grays, organs_.softmax, [&](std::vector<Image>&& outputs, std::size_t, bool mirrored) {
        if (!mirrored) return std::move(outputs);
        // A network tells left from right by the place in the picture.
        std::vector<Image> planes = outputs;
        const std::size_t background = organs_.softmax ? 1 : 0;
        for (std::size_t k = 0; k < mirrored_.size(); ++k)
          planes[background + k] = std::move(outputs[background + mirrored_[k]]);
        return planes;
      });
  std::vector<std::vector<OrganFound>> result;
  for (std::size_t n = 0; n < grays.size(); ++n) {
    std::vector<ImageU8> masks = decided(logits[n], organs_.organs.size(), organs_.softmax);
    for (std::size_t k = 0; k < masks.size(); ++k) {
      if (!lungs_[k]) continue;
      const LungMask lungs = lung_postprocess(tensor_of(masks[k]), {.min_area = 0});
      for (std::size_t i = 0; i < masks[k].pixels.size(); ++i) {
        bool taken = false;
        for (std::size_t other = 0; organs_.softmax && other < masks.size(); ++other)
          taken = taken || (other != k && masks[other].pixels[i] != 0);
        masks[k].pixels[i] = lungs.mask.data<std::uint8_t>()[i] != 0 && !taken ? 255 : 0;
      }
    }
    std::vector<OrganFound> found;
    for (const ImageU8& mask : masks) {
      OrganFound organ;
      organ.area_512 = static_cast<double>(mask_area(mask));
      organ.regions =
          static_cast<std::int64_t>(connected_components(tensor_of(mask)).components.size());
      organ.mask = resize_nearest(mask, grays[n].height, grays[n].width);
      organ.pixels = mask_area(organ.mask);
      if (!images[n].blank.empty()) organ = {ImageU8(grays[n].height, grays[n].width), 0, 0, 0};
      found.push_back(std::move(organ));
    }
    result.push_back(std::move(found));
  }
  return result;
}

ImageU8 label_map(const std::vector<OrganFound>& found, const OrganOutputs& organs) {
  ImageU8 map(found.front().mask.height, found.front().mask.width);
  for (std::size_t k = 0; k < found.size(); ++k)
    for (std::size_t i = 0; i < map.pixels.size(); ++i)
      if (found[k].mask.pixels[i]) map.pixels[i] = static_cast<std::uint8_t>(organs.values[k]);
  return map;
}

}  // namespace thorax
