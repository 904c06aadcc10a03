// `thorax predict`: from radiographs to probabilities, with both networks.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/classifier.h"
#include "apps/command.h"
#include "apps/image_list.h"
#include "apps/intensity.h"
#include "apps/number_checks.h"
#include "apps/segmenter.h"
#include "data/decode.h"
#include "data/encode.h"
#include "data/image_check.h"
#include "data/overlay.h"
#include "engine/io/file_name.h"
#include "engine/io/json_text.h"
#include "engine/io/output_folder.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> inputs;
  std::string segmenter, classifier, out, on_error = "fail", precision = "float32", intensity;
  double min_area = 50000;
  std::optional<double> threshold;
  bool json = false;
  ComputeOptions compute;
};

struct Prediction {
  fs::path image;
  std::optional<Lungs> lungs;         // with a segmenter
  std::optional<double> probability;  // absent when the image was rejected
  std::string verdict;
  std::string overlay;
  std::string reason;              // of a rejection
  std::vector<std::string> notes;  // what was done to the file on the way in
};

std::string to_line(const Prediction& p) {
  const std::string value = p.probability ? fmt::format("{:.4f}", *p.probability) : "-";
  const std::string area = p.lungs ? fmt::format("{:.0f}", p.lungs->area) : "-";
  return fmt::format("{:>11}  {:>9}  {:<12}  {}{}", value, area, p.verdict, p.image.string(),
                     p.reason.empty() ? "" : "  (" + p.reason + ")");
}

nlohmann::ordered_json to_json(const Prediction& p, const std::string& positive, double threshold) {
  nlohmann::ordered_json json{{"image", p.image.string()}, {"verdict", p.verdict}};
  json["positive_class"] = positive;
  json["threshold"] = threshold;
  json["probability"] = p.probability ? nlohmann::ordered_json(*p.probability) : nullptr;
  if (p.lungs) json["lung_area_512"] = p.lungs->area;
  if (!p.overlay.empty()) json["overlay"] = p.overlay;
  if (!p.reason.empty()) json["reason"] = p.reason;
  if (!p.notes.empty()) json["notes"] = p.notes;
  return json;
}

// Which threshold the verdicts go by, and where it is from.
std::string threshold_line(const Options& o, const Classifier& classifier) {
  const std::string from = "verdict " + classifier.positive_class() + " from P = ";
  if (o.threshold) return fmt::format("{}{:.4g} (--threshold)", from, *o.threshold);
  const auto& chosen = classifier.input().threshold;
  if (!chosen) return from + "0.5 (the checkpoint has no threshold of its own)";
  return fmt::format(
      "{}{:.4g} (the checkpoint's: Youden's point of its {} validation images, sensitivity {:.3f}, "
      "specificity {:.3f} there)",
      from, chosen->threshold, chosen->images, chosen->sensitivity, chosen->specificity);
}

void run(const Options& o) {
  const Device device = apply(o.compute);
  const Compute compute{device, parse_precision(o.precision, device)};
  Classifier classifier(o.classifier, compute);
  classifier.set_intensity(
      chosen_intensity(o.intensity, classifier.input().intensity, o.classifier));
  const View view = classifier.input().view;
  THORAX_CHECK(
      !needs_mask(view) || !o.segmenter.empty(),
      "[predict] {}: was trained on the view '{}', which needs the lungs: give --segmenter "
      "too",
      o.classifier, name_of(view));
  std::unique_ptr<LungSegmenter> segmenter;
  if (!o.segmenter.empty()) {
    segmenter = std::make_unique<LungSegmenter>(o.segmenter, o.min_area, compute);
    segmenter->set_intensity(chosen_intensity(o.intensity, segmenter->intensity(), o.segmenter));
  }
  const std::vector<fs::path> images = list_images(o.inputs);
  if (!o.out.empty()) open_output_folder(o.out);
  const double threshold = o.threshold.value_or(classifier.threshold());
  if (!o.json)
    fmt::print("{}\n{:>11}  {:>9}  {:<12}  image\n", threshold_line(o, classifier),
               "P(" + classifier.positive_class() + ")", "lung area", "verdict");
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  const auto show = [&](const Prediction& p) {
    if (o.json) {
      rows.push_back(to_json(p, classifier.positive_class(), threshold));
    } else {
      fmt::print("{}\n", to_line(p));
    }
  };
  ReadingNotes notes;
  for (std::size_t i = 0; i < images.size(); ++i) {
    Prediction p;
    p.image = images[i];
    p.verdict = "rejected";
    const Intensity intensity = classifier.input().intensity;
    Image gray, for_segmenter;
    ImageFacts facts;
    try {
      gray = load_gray(images[i], {.intensity = intensity}, &facts);
      if (segmenter && segmenter->intensity() != intensity)
        for_segmenter = load_gray(images[i], {.intensity = segmenter->intensity()});
    } catch (const Error& error) {
      if (o.on_error != "skip") throw;
      fmt::print(stderr, "skipped: {}\n", error.what());
      // Listed all the same: who reads only the results must see that one is lacking.
      p.verdict = "unreadable";
      p.reason = error.what();
      show(p);
      continue;
    }
    p.notes = reading_notes(facts, intensity);
    if (const std::string blank = blank_reason(facts); !blank.empty()) {
      p.reason = "shows nothing: " + blank;
    } else {
      if (looks_inverted(gray)) p.notes.emplace_back(kInvertedNote);
      if (segmenter) p.lungs = (*segmenter)(for_segmenter.empty() ? gray : for_segmenter);
      if (p.lungs && !p.lungs->kept) p.reason = fmt::format("lung area under {:.0f}", o.min_area);
    }
    for (const std::string& note : p.notes) notes.add(note, images[i]);
    if (p.reason.empty()) {
      const Image seen = apply_view(view, gray, p.lungs ? p.lungs->mask : ImageU8());
      p.probability = classifier({seen}).front();
      p.verdict = classifier.input().classes[*p.probability >= threshold ? 1 : 0];
    }
    if (!o.out.empty() && p.lungs) {
      const bool positive = p.probability && *p.probability >= threshold;
      const fs::path file =
          fs::path(o.out) /
          fmt::format("{:04}_{}.png", i, output_name(images[i].stem().string()).text());
      const Rgb colour = !p.probability ? kVermillion : positive ? kOrange : kBlue;
      save_image(file, overlay_mask(gray, p.lungs->mask, colour));
      p.overlay = file.string();
    }
    show(p);
  }
  if (o.json) fmt::print("{}\n", dump_json(rows, 2));
  for (const std::string& line : notes.lines()) fmt::print(stderr, "note: {}\n", line);
}

void add(CLI::App& root) {
  static Options o;
  CLI::App* c = root.add_subcommand(
      "predict", "A classifier's probabilities and verdicts for radiographs, with overlays");
  c->add_option("inputs", o.inputs, "Images and folders of images (PNG, JPEG)")->required();
  c->add_option("--segmenter", o.segmenter, "Checkpoint of the lung segmenter");
  c->add_option("--classifier", o.classifier, "Checkpoint of the classifier")->required();
  c->add_option("--out", o.out,
                "Folder for overlays (blue: negative, orange: positive, red: rejected)");
  c->add_option("--min-area", o.min_area,
                "Reject images whose lungs cover fewer pixels of 512 x 512")
      ->capture_default_str()
      ->check(kArea);
  c->add_option(
       "--threshold", o.threshold,
       "Probability from which the verdict is positive (default: the checkpoint's, chosen on "
       "its validation images; 0.5 when it has none)")
      ->check(kShare);
  c->add_option("--on-error", o.on_error, "What an unreadable image does: fail or skip")
      ->capture_default_str()
      ->check(CLI::IsMember({"fail", "skip"}));
  c->add_flag("--json", o.json, "Print JSON");
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
