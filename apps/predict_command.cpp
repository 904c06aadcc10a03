// `thorax predict`: from radiographs to probabilities, with both networks.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "apps/classifier_options.h"
#include "apps/command.h"
#include "apps/console.h"
#include "apps/findings.h"
#include "apps/image_list.h"
#include "apps/inference/prediction_json.h"
#include "apps/inference/predictor.h"
#include "apps/intensity.h"
#include "apps/number_checks.h"
#include "apps/verdict_colour.h"
#include "data/csv.h"
#include "data/encode.h"
#include "data/formats/format.h"
#include "data/image_check.h"
#include "data/overlay.h"
#include "engine/io/atomic_file.h"
#include "engine/io/file_name.h"
#include "engine/io/json_text.h"
#include "engine/io/output_folder.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> inputs;
  ClassifierOptions classifier;
  std::vector<std::string> segmenters;
  std::string out, csv, on_error = "fail", precision = "float32", intensity;
  double min_area = 50000;
  std::optional<double> threshold;
  bool json = false;
  ComputeOptions compute;
};

// Of two classes the positive one's, else all.
std::vector<std::size_t> shown_classes(const Ensemble& classifier) {
  if (classifier.binary()) return {1};
  std::vector<std::size_t> all(classifier.classes().size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

std::string heading(const Ensemble& classifier) {
  std::string text;
  for (const std::size_t c : shown_classes(classifier))
    text += fmt::format("{:>11}  ", "P(" + classifier.classes()[c] + ")");
  return text + fmt::format("{:>9}  {:<12}  image", "lung area", "verdict");
}

// Four decimals, or as many as the verdict of class `c` needs to be read off: a probability is on
// the same side of its threshold as the one shown; of more than two classes the largest one shown
// is the largest.
std::string shown(const Prediction& p, const Ensemble& classifier,
                  std::span<const double> thresholds, std::size_t c) {
  const std::vector<double>& all = p.opinion.probabilities;
  const auto rounded = [](double value, int decimals) {
    return std::stod(fmt::format("{:.{}f}", value, decimals));
  };
  const auto tells = [&](int decimals) {
    if (!classifier.binary() && !classifier.multilabel()) {
      const double largest = all[*p.predicted];
      return std::all_of(all.begin(), all.end(), [&](double other) {
        return other == largest || rounded(other, decimals) < rounded(largest, decimals);
      });
    }
    const double threshold = thresholds[classifier.binary() ? 0 : c];
    return (rounded(all[c], decimals) >= threshold) == (all[c] >= threshold);
  };
  int decimals = 4;
  while (decimals < 17 && !tells(decimals)) ++decimals;
  return fmt::format("{:.{}f}", all[c], decimals);
}

std::string to_line(const Prediction& p, const Ensemble& classifier,
                    std::span<const double> thresholds) {
  std::string text;
  for (const std::size_t c : shown_classes(classifier)) {
    const std::size_t width = std::max<std::size_t>(11, classifier.classes()[c].size() + 3);
    text += fmt::format("{:>{}}  ", p.predicted ? shown(p, classifier, thresholds, c) : "-", width);
  }
  const std::string area = p.lungs ? fmt::format("{:.0f}", p.lungs->area) : "-";
  return text + fmt::format("{:>9}  {:<12}  {}{}", area, p.verdict, p.image,
                            p.reason.empty() ? "" : "  (" + p.reason + ")");
}

std::string csv_heading(const Ensemble& classifier) {
  std::vector<std::string> fields{"image", "verdict"};
  for (const std::string& name : classifier.classes()) fields.push_back("P(" + name + ")");
  fields.insert(fields.end(), {"lung_area_512", "reason"});
  return csv_line(fields);
}

std::string to_csv(const Prediction& p, const Ensemble& classifier) {
  std::vector<std::string> fields{p.image, p.verdict};
  for (std::size_t c = 0; c < classifier.classes().size(); ++c)
    fields.push_back(p.predicted ? fmt::format("{}", p.opinion.probabilities[c]) : "");
  fields.push_back(p.lungs ? fmt::format("{:.0f}", p.lungs->area) : "");
  fields.push_back(p.reason);
  return csv_line(fields);
}

// Which threshold the verdicts go by, and where it is from.
std::string threshold_line(const Options& o, const Ensemble& classifier) {
  if (classifier.multilabel()) return thresholds_text(classifier, o.threshold);
  if (!classifier.binary()) return "verdict: the class of the largest probability";
  const std::string from = "verdict " + classifier.positive_class() + " from P = ";
  if (o.threshold) return fmt::format("{}{} (--threshold)", from, *o.threshold);
  return fmt::format("{}{} ({})", from, classifier.threshold(), classifier.threshold_origin());
}

void run(const Options& o) {
  const Device device = apply(o.compute);
  PredictorOptions wanted{.classifier = o.classifier,
                          .segmenters = o.segmenters,
                          .min_area = o.min_area,
                          .threshold = o.threshold,
                          .compute = {device, parse_precision(o.precision, device)}};
  wanted.classifier.intensity = o.intensity;
  const Predictor predictor(wanted);
  print_notes(predictor.notes());
  const Ensemble& classifier = predictor.classifier();
  const std::vector<fs::path> images = list_images(o.inputs);
  if (!o.out.empty()) open_output_folder(o.out);
  if (!o.csv.empty()) check_output_file(o.csv);
  const std::vector<double>& thresholds = predictor.thresholds();
  if (!o.json) {
    for (const std::string& line : classifier.lines()) fmt::print("{}\n", line);
    fmt::print("{}\n{}\n", threshold_line(o, classifier), heading(classifier));
  }
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  std::string csv = csv_heading(classifier);
  const auto show = [&](const Prediction& p) {
    if (!o.csv.empty()) csv += to_csv(p, classifier);
    if (o.json || !o.out.empty()) rows.push_back(to_json(p, predictor));
    if (!o.json) fmt::print("{}\n", to_line(p, classifier, thresholds));
  };
  ReadingNotes notes;
  for (std::size_t i = 0; i < images.size(); ++i) {
    Predictor::Reading reading;
    Prediction p;
    try {
      reading = predictor.read(images[i]);
    } catch (const Error& error) {
      if (o.on_error != "skip") throw;
      fmt::print(stderr, "skipped: {}\n", error.what());
      // Listed all the same: who reads only the results must see that one is lacking.
      p.image = images[i].string();
      p.verdict = "unreadable";
      p.reason = error.what();
      show(p);
      continue;
    }
    p = predictor.predict(std::move(reading));
    for (const std::string& note : p.notes) notes.add(note, images[i]);
    if (!o.out.empty() && p.lungs) {
      const fs::path file =
          fs::path(o.out) /
          fmt::format("{:04}_{}.png", i, output_name(image_stem(images[i])).text());
      save_image(file, overlay_mask(p.gray, p.lungs->mask, verdict_colour(p)));
      p.overlay = file.string();
    }
    show(p);
  }
  if (!o.out.empty()) atomic_write(fs::path(o.out) / "predictions.json", dump_json(rows, 2) + "\n");
  if (o.json) fmt::print("{}\n", dump_json(rows, 2));
  if (!o.csv.empty()) atomic_write(o.csv, csv);
  for (const std::string& line : notes.lines()) fmt::print(stderr, "note: {}\n", line);
}

void add(CLI::App& root) {
  static Options o;
  CLI::App* c = root.add_subcommand(
      "predict", "A classifier's probabilities and verdicts for radiographs, with overlays");
  c->add_option("inputs", o.inputs, "Images and folders of images (formats: thorax info)")
      ->required();
  c->add_option("--segmenter", o.segmenters,
                "Checkpoint of the lung segmenter; given several times: the mean of their "
                "probabilities decides")
      ->allow_extra_args(false);
  add_classifier_options(*c, o.classifier);
  c->add_option(
      "--out", o.out,
      "Folder for predictions.json (what --json prints) and, with --segmenter, overlays of the "
      "lungs (blue: negative or the first class, orange: positive or another class, red: "
      "rejected)");
  c->add_option("--min-area", o.min_area,
                "Reject images whose lungs cover fewer pixels of 512 x 512")
      ->capture_default_str()
      ->check(kArea);
  c->add_option(
       "--threshold", o.threshold,
       "Probability from which the verdict is positive, of several findings for each (default: the "
       "checkpoint's, chosen on its validation images; 0.5 when it has none)")
      ->check(kShare);
  c->add_option("--on-error", o.on_error, "What an unreadable image does: fail or skip")
      ->capture_default_str()
      ->check(CLI::IsMember({"fail", "skip"}));
  c->add_flag("--json", o.json, "Print JSON");
  c->add_option("--csv", o.csv,
                "Also write a table of the results, a row an image, once all are done");
  add_intensity_override(*c, o.intensity);
  add_precision_option(*c, o.precision);
  add_compute_options(*c, o.compute);
  c->footer(
      "Example:\n  thorax predict image.png --segmenter runs/lungs/best.safetensors "
      "--classifier runs/covid/last.safetensors --out seen\n\nNot for diagnostic use.");
  c->callback([] { run(o); });
}

}  // namespace
THORAX_COMMAND(50, add)
}  // namespace thorax::app
