#include "apps/fold_overlays.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "apps/console.h"
#include "apps/fold_files.h"
#include "apps/inference/lung_segmenter.h"
#include "apps/inference/organ_segmenter.h"
#include "apps/inference/run_networks.h"
#include "data/decode.h"
#include "data/encode.h"
#include "data/loader.h"
#include "data/organ_pictures.h"
#include "data/organs.h"
#include "data/overlay.h"
#include "data/resize.h"
#include "engine/io/atomic_file.h"

namespace thorax::app {

namespace fs = std::filesystem;

namespace {

struct Ranked {
  std::size_t fold;
  const Scored* scored;
};

ImageU8 picture(const LungSegmenter& segmenter, const Sample& sample) {
  const Image gray = load_gray(sample.image, {.intensity = segmenter.intensity()});
  const ImageU8 truth = sample_mask(sample, gray.height, gray.width);
  const LungSteps steps = segmenter.steps(gray);
  ImageU8 drawn = overlay_mask(steps.gray, steps.raw, kBlue);
  draw_outline(drawn, resize_nearest(truth, steps.gray.height, steps.gray.width), kOrange);
  return drawn;
}

// Several organs: the network's in their colours, without Algorithm 1, the truth outlined in white.
ImageU8 picture(const OrganSegmenter& segmenter, const Sample& sample) {
  constexpr int kSide = 512;
  const Image gray = load_gray(sample.image, {.intensity = segmenter.intensity()});
  const std::vector<std::string>& names = segmenter.organs().organs;
  std::vector<ImageU8> masks;
  for (const OrganFound& organ : segmenter(gray))
    masks.push_back(resize_nearest(organ.mask, kSide, kSide));
  ImageU8 drawn = overlay_organs(resize(gray, kSide, kSide), masks);
  const OrganMap truth = sample_organs(sample, names, gray.height, gray.width);
  for (std::size_t k = 0; k < names.size(); ++k)
    draw_outline(drawn, resize_nearest(organ_plane(truth, k), kSide, kSide), {255, 255, 255}, 1);
  return with_legend(drawn, names);
}

}  // namespace

std::vector<ReportImage> fold_overlays(const Experiment& e, const std::vector<FoldResult>& folds,
                                       std::size_t count, const fs::path& out,
                                       const Compute& compute) {
  std::vector<Ranked> ranked;
  for (std::size_t k = 0; k < folds.size(); ++k)
    for (const Scored& scored : folds[k].scored) ranked.push_back({k, &scored});
  std::stable_sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) {
    return a.scored->score < b.scored->score;
  });
  std::map<std::string, const Sample*> by_id;
  for (const Sample& sample : e.run.dataset.samples) by_id[sample.id] = &sample;

  // Few images of each class of result, so that none is in both.
  count = std::min(count, ranked.size() / 2);
  std::vector<std::pair<std::string, Ranked>> chosen;
  for (std::size_t i = 0; i < count; ++i)
    chosen.emplace_back(fmt::format("worst_{}", i + 1), ranked[i]);
  for (std::size_t i = 0; i < count; ++i)
    chosen.emplace_back(fmt::format("best_{}", i + 1), ranked[ranked.size() - 1 - i]);

  create_folders(out);
  std::vector<ReportImage> images(chosen.size());
  for (std::size_t k = 0; k < folds.size(); ++k) {
    // Made when the fold has an image to show.
    std::unique_ptr<LungSegmenter> segmenter;
    std::unique_ptr<OrganSegmenter> organs;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const auto& [name, rank] = chosen[i];
      if (rank.fold != k) continue;
      const fs::path model = fold_model(e.fold_folder(e.rows[0], k));
      const Sample& sample = *by_id.at(rank.scored->image);
      ImageU8 drawn;
      if (folds[k].organs.empty()) {
        if (!segmenter) {
          segmenter = std::make_unique<LungSegmenter>(model, 0, compute);
          print_notes(segmenter->notes());
        }
        drawn = picture(*segmenter, sample);
      } else {
        if (!organs) {
          organs = std::make_unique<OrganSegmenter>(std::vector<std::string>{model.string()},
                                                    Postprocess::none, compute);
          print_notes(organs->notes());
        }
        drawn = picture(*organs, sample);
      }
      save_image(out / (name + ".png"), drawn);
      images[i] = report_image(drawn, fmt::format("{}: Dice {:.4f}, fold {}, {}", name,
                                                  rank.scored->score, k + 1, rank.scored->image));
    }
  }
  return images;
}

}  // namespace thorax::app
