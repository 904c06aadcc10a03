#include "apps/heat_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "apps/console.h"
#include "apps/fold_files.h"
#include "apps/heatmap.h"
#include "apps/inference/run_networks.h"
#include "data/multilabel.h"

namespace thorax::app {

namespace fs = std::filesystem;

namespace {

// `count` of the samples, the classes in turn, each evenly spread over its samples.
std::vector<Sample> spread_over_classes(const std::vector<Sample>& samples, std::int64_t count) {
  std::map<int, std::vector<const Sample*>> by_class;
  // Of several findings an image, its first one.
  for (const Sample& s : samples) {
    const auto first = std::find(s.labels.begin(), s.labels.end(), kPositiveLabel);
    by_class[first == s.labels.end() ? s.label : static_cast<int>(first - s.labels.begin())]
        .push_back(&s);
  }
  std::vector<Sample> chosen;
  const auto classes = static_cast<std::int64_t>(by_class.size());
  for (const auto& [label, of_class] : by_class) {
    const auto have = static_cast<std::int64_t>(of_class.size());
    const std::int64_t take = std::min(have, (count + classes - 1) / classes);
    for (std::int64_t i = 0; i < take; ++i)
      chosen.push_back(*of_class[static_cast<std::size_t>(i * have / take)]);
  }
  return chosen;
}

}  // namespace

HeatFigures heat_figures(const Experiment& e, const ExperimentRow& row, std::int64_t per_fold,
                         const fs::path& out, const Compute& compute) {
  HeatFigures figures;
  figures.table = {"Share of heatmap energy inside the lungs",
                   {{"class", CellKind::text},
                    {"images", CellKind::integer},
                    {"energy in the lungs", CellKind::percent, 1},
                    {"lungs' share of the image", CellKind::percent, 1},
                    {"maximum in the lungs", CellKind::percent, 1}},
                   {}};
  struct Sum {
    std::vector<double> inside, area, hit;
  };
  std::map<std::string, Sum> sums;
  std::string layer;
  for (std::size_t k = 0; k < e.splits(row).folds.size(); ++k) {
    const std::vector<Sample> samples =
        spread_over_classes(select(e.run.dataset, e.splits(row).folds[k].validation), per_fold);
    const Classifier classifier(fold_model(e.fold_folder(row, k)), compute);
    print_notes(classifier.notes());
    HeatmapOptions options;
    options.use_masks = true;
    options.skip_unreadable = row.settings.on_error == "skip";
    options.out = out / fmt::format("fold_{}", k);
    const HeatmapReport report = make_heatmaps({&classifier}, nullptr, samples, options);
    layer = report.layer;
    write_heatmap_csv(report, options.out / "heatmaps.csv");
    for (const HeatmapRow& h : report.rows) {
      if (!h.picture.empty()) figures.pictures.push_back(options.out / h.picture);
      if (!h.focus) continue;
      std::vector<std::string> names{"all"};
      if (!e.run.dataset.multilabel) names.push_back(h.sample.class_name);
      for (std::size_t f = 0; f < h.sample.labels.size(); ++f)
        if (h.sample.labels[f] == kPositiveLabel) names.push_back(e.run.dataset.classes[f]);
      for (const std::string& name : names) {
        Sum& sum = sums[name];
        sum.inside.push_back(h.focus->energy_share);
        sum.area.push_back(h.focus->area_share);
        sum.hit.push_back(h.focus->hit ? 1 : 0);
      }
    }
  }
  const auto add = [&](const std::string& name) {
    const auto sum = sums.find(name);
    if (sum == sums.end()) return;
    figures.table.rows.push_back({name, static_cast<std::int64_t>(sum->second.inside.size()),
                                  spread(sum->second.inside).mean, spread(sum->second.area).mean,
                                  spread(sum->second.hit).mean});
  };
  for (const std::string& name : e.run.dataset.classes) add(name);
  add("all");
  figures.table.notes = {fmt::format(
      "Grad-CAM of layer {} for {}, by the network of the fold that held the image out. Energy "
      "spread evenly over the image would have the lungs' share of it inside.",
      layer, e.run.dataset.multilabel ? "the most probable finding" : "the predicted class")};
  if (const auto all = sums.find("all"); all != sums.end()) {
    figures.inside = spread(all->second.inside).mean;
    figures.area = spread(all->second.area).mean;
    figures.images = static_cast<std::int64_t>(all->second.inside.size());
  }
  return figures;
}

void add_heatmap_pictures(Report& report, const HeatFigures& figures, std::size_t most) {
  std::vector<ReportImage> pictures;
  const std::size_t count = figures.pictures.size(), shown = std::min(count, most);
  for (std::size_t i = 0; i < shown; ++i) {
    const fs::path& file = figures.pictures[i * count / shown];
    pictures.push_back(report_image(file, file.stem().string()));
  }
  report.images(pictures, 320);
}

}  // namespace thorax::app
