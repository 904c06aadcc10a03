#include "apps/fold_overlays.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "apps/fold_files.h"
#include "apps/segmenter.h"
#include "data/decode.h"
#include "data/encode.h"
#include "data/loader.h"
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
    std::unique_ptr<LungSegmenter> segmenter;  // made when the fold has an image to show
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const auto& [name, rank] = chosen[i];
      if (rank.fold != k) continue;
      if (!segmenter)
        segmenter =
            std::make_unique<LungSegmenter>(fold_model(e.fold_folder(e.rows[0], k)), 0, compute);
      const ImageU8 drawn = picture(*segmenter, *by_id.at(rank.scored->image));
      save_image(out / (name + ".png"), drawn);
      images[i] = report_image(drawn, fmt::format("{}: Dice {:.4f}, fold {}, {}", name,
                                                  rank.scored->score, k + 1, rank.scored->image));
    }
  }
  return images;
}

}  // namespace thorax::app
