// `thorax explain`: where a classifier looks, and how much of that is lung.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "apps/classifier_options.h"
#include "apps/command.h"
#include "apps/console.h"
#include "apps/heatmap.h"
#include "apps/image_list.h"
#include "apps/inference/ensemble.h"
#include "apps/intensity.h"
#include "apps/number_checks.h"
#include "data/classes.h"
#include "data/inspect.h"
#include "data/multilabel.h"
#include "engine/io/atomic_file.h"
#include "engine/io/json_text.h"
#include "engine/runtime/parallel.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> inputs, data;
  ClassifierOptions classifier;
  std::vector<std::string> segmenters;
  std::string layer, method = "grad-cam", target = "predicted", out, on_error = "fail", intensity;
  double min_area = 50000;
  int batch = 4;
  bool masks = false, raw = false, list_layers = false, json = false;
  ComputeOptions compute;
};

void list_layers(const Classifier& classifier, bool json) {
  const std::vector<OfferedLayer> layers = heatmap_layers(classifier);
  const std::string last = last_spatial_layer(layers);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const OfferedLayer& layer : layers) {
    if (json) {
      rows.push_back({{"layer", layer.name},
                      {"shape", std::vector<std::int64_t>(layer.shape.extents().begin(),
                                                          layer.shape.extents().end())},
                      {"default", layer.name == last}});
    } else {
      fmt::print("{:<28} {}{}\n", layer.name, layer.shape,
                 layer.name == last ? "  (the default)" : "");
    }
  }
  if (json) fmt::print("{}\n", dump_json(rows, 2));
}

std::vector<Sample> samples_of(const Options& o, const Classifier& classifier) {
  THORAX_CHECK(o.inputs.empty() != o.data.empty(),
               "[explain] give images or folders, or --data, and not both");
  if (!o.data.empty()) {
    Dataset dataset = load_datasets(o.data);
    // The rule of masks is one for the whole data set.
    if (o.masks) {
      const Inspection seen = inspect_dataset(
          dataset, {.intensity = classifier.input().intensity, .threads = num_threads()});
      for (const MaskSet& set : seen.masks) {
        THORAX_CHECK(set.doubt.empty(), "{}", set.doubt);
        fmt::print(stderr, "masks of {}: {}\n", set.source, set.rule);
      }
    }
    THORAX_CHECK(!dataset.multilabel || classifier.multilabel(),
                 "[explain] {}: tells one class an image ({}), the data has several findings; "
                 "labels=single of the source reads one class",
                 fmt::join(o.classifier.files, ", "), fmt::join(classifier.classes(), ", "));
    if (classifier.multilabel()) {
      if (dataset.multilabel)
        for (const std::string& name : arrange_findings(dataset, classifier.classes()))
          fmt::print(stderr, "note: the classifier does not know the data's finding '{}'\n", name);
      else
        fmt::print(
            stderr,
            "note: the data names one class an image: no figures by finding; labels=multi of "
            "chexpert and nih, or a manifest's columns label:NAME, name findings\n");
      return dataset.samples;
    }
    for (const std::string& name : dataset.classes)
      if (std::find(classifier.input().classes.begin(), classifier.input().classes.end(), name) ==
          classifier.input().classes.end())
        fmt::print(stderr, "note: the classifier does not know the data's class '{}'\n", name);
    return dataset.samples;
  }
  std::vector<Sample> samples;
  for (const fs::path& path : list_images(o.inputs)) {
    Sample sample;
    sample.image = path;
    samples.push_back(std::move(sample));
  }
  return samples;
}

// "predicted", the name of a class, or of two "positive" and "negative".
std::int64_t target_class(const std::string& name, const Classifier& classifier) {
  if (name == "predicted") return kPredictedClass;
  if (classifier.binary() && name == "positive") return 1;
  if (classifier.binary() && name == "negative") return 0;
  const std::vector<std::string>& classes = classifier.classes();
  const auto found = std::find_if(classes.begin(), classes.end(),
                                  [&](const std::string& c) { return same_class(c, name); });
  THORAX_CHECK(found != classes.end(),
               "[explain] --class {}: the classifier has no such class or finding; there are: "
               "predicted{}, {}",
               name, classifier.binary() ? ", positive, negative" : "", fmt::join(classes, ", "));
  return found - classes.begin();
}

void run(const Options& o) {
  const Compute compute{apply(o.compute), DType::f32};
  ClassifierOptions wanted = o.classifier;
  wanted.intensity = o.intensity;
  const Ensemble ensemble(wanted, compute);
  const Classifier& classifier = *ensemble.members().front();
  Explainers explainers;
  for (const auto& member : ensemble.members()) explainers.push_back(member.get());
  if (o.list_layers) return list_layers(classifier, o.json);
  THORAX_CHECK(!o.out.empty(), "[explain] --out is missing: the folder for the pictures");
  THORAX_CHECK(!o.masks || !o.data.empty(),
               "[explain] --masks uses the masks of --data; images by themselves have none");
  THORAX_CHECK(!needs_mask(classifier.input().view) || !o.segmenters.empty() || o.masks,
               "[explain] {}: needs the lungs: give --segmenter, or --data with --masks",
               ensemble.name());
  std::vector<std::string> notes = ensemble.notes();
  std::unique_ptr<LungSegmenter> segmenter;
  if (!o.segmenters.empty()) {
    segmenter = std::make_unique<LungSegmenter>(o.segmenters, o.min_area, compute);
    segmenter->set_flips(o.classifier.tta == "flip");
    notes.insert(notes.end(), segmenter->notes().begin(), segmenter->notes().end());
    segmenter->set_intensity(
        chosen_intensity(o.intensity, segmenter->intensity(), o.segmenters.front(), notes));
  }
  print_notes(notes);
  const HeatmapOptions options{.cam = {.layer = o.layer,
                                       .method = parse_cam_method(o.method),
                                       .target = target_class(o.target, classifier)},
                               .batch = o.batch,
                               .use_masks = o.masks,
                               .skip_unreadable = o.on_error == "skip",
                               .out = o.out,
                               .raw = o.raw};
  const HeatmapReport report =
      make_heatmaps(explainers, segmenter.get(), samples_of(o, classifier), options);
  const fs::path folder = o.out;
  write_heatmap_csv(report, folder / "heatmaps.csv");
  nlohmann::ordered_json summary = heatmap_summary(report);
  summary["notes"] = ensemble.lines();
  atomic_write(folder / "summary.json", dump_json(summary, 2) + "\n");
  if (o.json) {
    fmt::print("{}\n", dump_json(summary, 2));
    return;
  }
  for (const std::string& line : ensemble.lines()) fmt::print("{}\n", line);
  const std::int64_t target = options.cam.target;
  fmt::print("{} of {}, for {}{}\n{}", name_of(report.method), report.layer,
             target == kPredictedClass
                 ? (classifier.multilabel() ? "each image's most probable finding"
                                            : "each image's predicted class")
                 : (classifier.multilabel() ? "the finding " : "the class ") +
                       classifier.classes()[static_cast<std::size_t>(target)],
             classifier.binary() ? "; positive class: " + classifier.positive_class() : "",
             heatmap_table(report));
  fmt::print("{}/overlays  {}heatmaps.csv  summary.json\n", o.out, o.raw ? "maps  " : "");
}

void add(CLI::App& root) {
  static Options o;
  CLI::App* c = root.add_subcommand(
      "explain", "Heatmaps: where a classifier looks, and how much of that is lung");
  c->add_option("inputs", o.inputs, "Images and folders of images (formats: thorax info)");
  c->add_option("--data", o.data,
                "Dataset instead of files, kind:PATH[,key=value] (see thorax data): figures per "
                "class");
  add_classifier_options(*c, o.classifier);
  c->add_option("--segmenter", o.segmenters,
                "Checkpoint of the lung segmenter; given several times: the mean of their "
                "probabilities decides")
      ->allow_extra_args(false);
  c->add_flag("--masks", o.masks,
              "Use the data's own lung masks; images without one go to the segmenter");
  c->add_option("--layer", o.layer,
                "Layer to explain (--list-layers shows them); the last one when absent");
  c->add_option("--method", o.method, "How places are weighted (see apps/README.md)")
      ->capture_default_str()
      ->check(CLI::IsMember(cam_method_names()));
  c->add_option(
       "--class", o.target,
       "Class or finding that is explained: predicted (the most probable), its name, or of two "
       "classes positive or negative")
      ->capture_default_str();
  c->add_option("--out", o.out, "Folder for overlays/, heatmaps.csv and summary.json");
  c->add_flag("--raw", o.raw, "Write maps/, too: 16-bit PNG, 65535 = the heatmap's maximum");
  c->add_flag("--list-layers", o.list_layers, "List the classifier's layers and stop");
  c->add_option("--min-area", o.min_area,
                "A segmenter's lungs that cover fewer pixels of 512 x 512 do not count")
      ->capture_default_str()
      ->check(kArea);
  c->add_option("--batch", o.batch, "Images computed at once")
      ->capture_default_str()
      ->check(kBatch);
  c->add_option("--on-error", o.on_error, "What an unreadable image does: fail or skip")
      ->capture_default_str()
      ->check(CLI::IsMember({"fail", "skip"}));
  c->add_flag("--json", o.json, "Print JSON");
  add_intensity_override(*c, o.intensity);
  add_compute_options(*c, o.compute);
  c->footer(
      "Examples:\n  thorax explain --list-layers --classifier runs/covid/last.safetensors\n"
      "  thorax explain image.png --classifier runs/covid/last.safetensors "
      "--segmenter runs/lungs/best.safetensors --out why\n"
      "  thorax explain --data covid:DIR,masks=DIR2 --masks --classifier "
      "runs/covid/last.safetensors --method grad-cam++ --class positive --out why\n\n"
      "Not for diagnostic use.");
  c->callback([] { run(o); });
}

}  // namespace
THORAX_COMMAND(55, add)
}  // namespace thorax::app
