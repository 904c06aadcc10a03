#include "apps/heatmap.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "apps/heatmap_picture.h"
#include "apps/inference/ensemble_maps.h"
#include "apps/inference/radiograph.h"
#include "apps/progress.h"
#include "data/csv.h"
#include "data/decode.h"
#include "data/encode.h"
#include "data/formats/format.h"
#include "data/image_check.h"
#include "data/loader.h"
#include "data/multilabel.h"
#include "data/overlay.h"
#include "engine/io/atomic_file.h"
#include "engine/io/file_name.h"
#include "engine/io/output_folder.h"
#include "engine/train/metrics.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

struct Waiting {
  std::size_t sample;
  Image gray;
  ImageU8 lungs;  // empty: none
};

bool binary(const HeatmapReport& report) {
  return report.classes.size() == 2 && !report.multilabel;
}

void write_pictures(const HeatmapReport& report, const Waiting& item, const Image& heat,
                    const HeatmapOptions& options, HeatmapRow& row) {
  const std::string name =
      fmt::format("{:04}_{}", item.sample, output_name(image_stem(row.sample.image)).text());
  row.picture = fs::path("overlays") / (name + ".png");
  const std::string& explained = report.classes[static_cast<std::size_t>(row.target)];
  std::vector<std::string> caption{
      fmt::format("P({}) {:.3f}", binary(report) ? report.classes[1] : explained, row.probability),
      row.peak > 0
          ? fmt::format("for {}: {} of {}", explained, name_of(report.method), report.layer)
          : fmt::format("nothing speaks for {} in {}", explained, report.layer)};
  if (row.focus)
    caption.push_back(fmt::format("{:.0f}% in the lungs, which are {:.0f}% of the image",
                                  100 * row.focus->energy_share, 100 * row.focus->area_share));
  save_image(options.out / row.picture, heatmap_picture(item.gray, heat, item.lungs, caption));
  if (options.raw) {
    const std::vector<std::uint8_t> png = encode_png(to_u16(heat));
    atomic_write(options.out / "maps" / (name + ".png"), std::as_bytes(std::span(png)));
  }
}

void explain_batch(const Explainers& classifiers, const std::vector<std::string>& layers,
                   const std::vector<Sample>& samples, const std::vector<Waiting>& items,
                   const HeatmapOptions& options, HeatmapReport& report) {
  std::vector<Image> seen;
  std::vector<std::pair<int, int>> sizes;
  for (const Waiting& item : items) {
    seen.push_back(apply_view(classifiers.front()->input().view, item.gray, item.lungs));
    // The classifier's input is the whole image, stretched: the map is stretched back.
    sizes.emplace_back(item.gray.height, item.gray.width);
  }
  const std::string first = samples[items[0].sample].image.string();
  const std::vector<ExplainedImage> explained = explain_images(
      classifiers, layers, seen, sizes, options.cam,
      items.size() == 1 ? first : fmt::format("{} images from {} on", items.size(), first));
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Waiting& item = items[i];
    const ExplainedImage& e = explained[i];
    HeatmapRow row;
    row.sample = samples[item.sample];
    row.target = e.target;
    const std::size_t shown =
        classifiers.front()->binary() ? 1 : static_cast<std::size_t>(row.target);
    row.probability = e.probabilities[shown];
    row.peak = e.peak;
    Image heat(item.gray.height, item.gray.width);
    std::copy_n(e.map.data<float>(), e.map.numel(), heat.pixels.begin());
    row.has_lungs = !item.lungs.empty();
    if (row.has_lungs) row.focus = lung_focus(heat, item.lungs);
    if (!options.out.empty()) write_pictures(report, item, heat, options, row);
    report.rows.push_back(std::move(row));
  }
}

// The figures of a group of rows, in the order they are shown.
struct Figures {
  std::int64_t images = 0, empty = 0, without_lungs = 0;
  std::vector<double> energy, area, ratio, hits;
};

bool is_of(const Sample& sample, const std::string& class_name, const HeatmapReport& report) {
  if (!report.multilabel) return sample.class_name == class_name;
  const auto f = static_cast<std::size_t>(
      std::find(report.classes.begin(), report.classes.end(), class_name) - report.classes.begin());
  return f < sample.labels.size() && sample.labels[f] == kPositiveLabel;
}

Figures figures(const HeatmapReport& report, const std::string* class_name) {
  Figures f;
  for (const HeatmapRow& row : report.rows) {
    if (class_name && !is_of(row.sample, *class_name, report)) continue;
    ++f.images;
    f.empty += row.peak == 0;
    f.without_lungs += !row.has_lungs;
    if (!row.focus) continue;
    f.energy.push_back(row.focus->energy_share);
    f.area.push_back(row.focus->area_share);
    f.ratio.push_back(row.focus->ratio());
    f.hits.push_back(row.focus->hit ? 1 : 0);
  }
  return f;
}

std::vector<std::pair<std::string, Figures>> groups(const HeatmapReport& report) {
  std::vector<std::pair<std::string, Figures>> result;
  for (const std::string& name : report.classes) {
    Figures f = figures(report, &name);
    if (f.images > 0) result.emplace_back(name, std::move(f));
  }
  result.emplace_back("all", figures(report, nullptr));
  return result;
}

nlohmann::ordered_json summary_of(const std::vector<double>& values) {
  const MeanDeviation s = spread(values);
  nlohmann::ordered_json json{{"mean", nullptr}, {"sd", nullptr}, {"n", values.size()}};
  if (!values.empty()) json["mean"] = s.mean;
  if (values.size() > 1) json["sd"] = s.deviation;
  return json;
}

}  // namespace

HeatmapReport make_heatmaps(const Explainers& classifiers, const LungSegmenter* segmenter,
                            const std::vector<Sample>& samples, const HeatmapOptions& options) {
  const Classifier& classifier = *classifiers.front();
  THORAX_CHECK(!samples.empty(), "[explain] no images");
  THORAX_CHECK(options.batch > 0, "[explain] batch {}", options.batch);
  const std::vector<std::string> layers = chosen_layers(classifiers, options.cam.layer);
  HeatmapReport report;
  report.layer = layers.front();
  for (const std::string& layer : layers)
    if (layer != layers.front()) report.layer = "each network's last layer";
  report.method = options.cam.method;
  report.classes = classifier.input().classes;
  report.multilabel = classifier.multilabel();
  if (!options.out.empty()) {
    open_output_folder(options.out);
    open_output_folder(options.out / "overlays");
    if (options.raw) open_output_folder(options.out / "maps");
  }

  const bool wants_lungs = needs_mask(classifier.input().view);
  Progress progress("explain", static_cast<std::int64_t>(samples.size()), "img");
  std::vector<Waiting> batch;
  ReadingNotes notes;
  const auto flush = [&] {
    if (batch.empty()) return;
    explain_batch(classifiers, layers, samples, batch, options, report);
    progress.advance(static_cast<std::int64_t>(batch.size()));
    batch.clear();
  };
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const Sample& sample = samples[i];
    Waiting item{i, {}, {}};
    Image for_segmenter;
    Radiograph image;
    try {
      const Intensity intensity = classifier.input().intensity;
      image = read_radiograph(sample.image, intensity);
      item.gray = std::move(image.gray);
      if (segmenter && segmenter->intensity() != intensity)
        for_segmenter = load_gray(sample.image, {.intensity = segmenter->intensity()});
      if (options.use_masks) item.lungs = sample_mask(sample, item.gray.height, item.gray.width);
    } catch (const Error& error) {
      if (!options.skip_unreadable) throw;
      report.unreadable.push_back(error.what());
      fmt::print(stderr, "skipped: {}\n", error.what());
      progress.advance(1);
      continue;
    }
    if (!image.blank.empty()) {
      report.rejected.push_back(sample.image.string());
      fmt::print(stderr, "rejected: {}: {}\n", sample.image.string(), image.blank_text());
      progress.advance(1);
      continue;
    }
    for (const std::string& note : image.notes) notes.add(note, sample.image);
    if (item.lungs.empty() && segmenter) {
      const Lungs lungs = (*segmenter)(for_segmenter.empty() ? item.gray : for_segmenter);
      if (lungs.kept) item.lungs = lungs.mask;
    }
    if (wants_lungs && item.lungs.empty()) {
      THORAX_CHECK(
          segmenter != nullptr,
          "[explain] {}: no lung mask, and the classifier was trained on a view that needs "
          "one: give a segmenter",
          sample.image.string());
      report.rejected.push_back(sample.image.string());
      progress.advance(1);
      continue;
    }
    batch.push_back(std::move(item));
    if (static_cast<int>(batch.size()) == options.batch) flush();
  }
  flush();
  for (const std::string& line : notes.lines()) fmt::print(stderr, "note: {}\n", line);
  return report;
}

void write_heatmap_csv(const HeatmapReport& report, const fs::path& path) {
  std::string csv =
      "image,id,patient,source,class,probability,explained,layer,method,peak,energy_in_lungs,"
      "lung_area,energy_ratio,pointing_hit,overlay\n";
  for (const HeatmapRow& row : report.rows) {
    std::string focus = ",,,";
    if (row.focus)
      focus = fmt::format("{:.6f},{:.6f},{:.4f},{}", row.focus->energy_share, row.focus->area_share,
                          row.focus->ratio(), row.focus->hit ? 1 : 0);
    csv += fmt::format(
        "{},{},{},{},{},{:.9g},{},{},{},{:.9g},{},{}\n", csv_field(row.sample.image.string()),
        csv_field(row.sample.id), csv_field(row.sample.patient), csv_field(row.sample.source),
        csv_field(report.multilabel ? row.sample.finding : row.sample.class_name), row.probability,
        csv_field(report.classes[static_cast<std::size_t>(row.target)]), csv_field(report.layer),
        name_of(report.method), row.peak, focus, csv_field(row.picture.generic_string()));
  }
  atomic_write(path, csv);
}

nlohmann::ordered_json heatmap_summary(const HeatmapReport& report) {
  nlohmann::ordered_json classes = nlohmann::ordered_json::array();
  for (const auto& [name, f] : groups(report))
    classes.push_back({{"class", name},
                       {"images", f.images},
                       {"empty_maps", f.empty},
                       {"without_lungs", f.without_lungs},
                       {"energy_in_lungs", summary_of(f.energy)},
                       {"lung_area", summary_of(f.area)},
                       {"energy_ratio", summary_of(f.ratio)},
                       {"pointing_hit", summary_of(f.hits)}});
  return {{"layer", report.layer},
          {"method", name_of(report.method)},
          {"positive",
           binary(report) ? nlohmann::ordered_json(report.classes[1]) : nlohmann::ordered_json()},
          {"rejected", report.rejected.size()},
          {"unreadable", report.unreadable.size()},
          {"unreadable_files", report.unreadable},
          {"classes", classes}};
}

std::string heatmap_table(const HeatmapReport& report) {
  const auto cell = [](const std::vector<double>& values) {
    const MeanDeviation s = spread(values);
    if (values.empty()) return std::string("-");
    return values.size() == 1 ? fmt::format("{:.3f}", s.mean)
                              : fmt::format("{:.3f} ± {:.3f}", s.mean, s.deviation);
  };
  std::string text =
      fmt::format("{:<14} {:>6} {:>6}  {:>15}  {:>15}  {:>15}  {:>8}\n", "class", "images", "maps",
                  "energy in lungs", "lung area", "ratio", "pointing");
  for (const auto& [name, f] : groups(report))
    text += fmt::format("{:<14} {:>6} {:>6}  {:>15}  {:>15}  {:>15}  {:>8}\n", name, f.images,
                        f.images - f.empty, cell(f.energy), cell(f.area), cell(f.ratio),
                        f.hits.empty() ? "-" : fmt::format("{:.3f}", spread(f.hits).mean));
  const Figures all = figures(report, nullptr);
  if (all.empty > 0)
    text +=
        fmt::format("{} maps are empty: nothing in the layer speaks for the class\n", all.empty);
  if (all.without_lungs > 0)
    text += fmt::format(
        "{} images without lungs to compare with: they have a map, and no part in the other "
        "columns\n",
        all.without_lungs);
  if (!report.rejected.empty())
    text += fmt::format("{} images rejected: too little lung\n", report.rejected.size());
  return text;
}

}  // namespace thorax::app
