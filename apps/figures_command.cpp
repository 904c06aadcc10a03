// `thorax data figures`: the study's figures and table of its data, for any data.
#include "apps/figures_command.h"
#include "apps/console.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <optional>

#include "apps/command.h"
#include "apps/inference/lung_segmenter.h"
#include "apps/intensity.h"
#include "apps/number_checks.h"
#include "apps/report/dataset_figures.h"
#include "apps/report/gnuplot.h"
#include "apps/report/report.h"
#include "data/decode.h"
#include "data/describe.h"
#include "data/draw.h"
#include "data/encode.h"
#include "data/loader.h"
#include "data/overlay.h"
#include "engine/io/output_folder.h"
#include "engine/runtime/parallel.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> data;
  std::string out, segmenter, image, augment = "study", precision = "float32";
  std::string intensity, on_patient_conflict = "report";
  double min_area = 50000;
  int per_class = 12;
  std::uint64_t seed = 0;
  ComputeOptions compute;
};

// The image that steps and augmentation are shown on, with its mask where it has one: not 0 where
// any organ is.
struct Example {
  std::string name;
  Image gray;
  ImageU8 mask;
};

Example read_example(const Options& o, const Sample& sample) {
  LoaderConfig config;
  config.intensity = parse_intensity(o.intensity);
  config.with_mask = !sample.masks.empty();
  for (const OrganMask& organ : sample.organs.organs) config.organs.push_back(organ.name);
  const PreparedSample prepared = prepare_sample(sample, config);
  return {sample.image.filename().string(), to_float(prepared.image), prepared.mask};
}

Example example_of(const Options& o, const Dataset& dataset) {
  if (!o.image.empty()) {
    for (const Sample& sample : dataset.samples)
      if (sample.image.filename() == o.image) return read_example(o, sample);
    Sample named;
    named.image = o.image;
    THORAX_CHECK(fs::exists(named.image),
                 "[data] --image {}: neither an image of the data nor a file", o.image);
    return read_example(o, named);
  }
  std::vector<const Sample*> candidates;
  for (const bool with_mask : {true, false}) {
    for (const Sample& sample : dataset.samples)
      if (sample.masks.empty() != with_mask) candidates.push_back(&sample);
    if (!candidates.empty()) break;
  }
  // Unreadable files are counted in the report; the example is one that can be read.
  for (std::size_t i = 0;; ++i) try {
      return read_example(o, *candidates[(o.seed + i) % candidates.size()]);
    } catch (const Error&) {
      if (i + 1 >= candidates.size()) throw;
    }
}

// A source's name as part of a file name.
std::string file_name(const std::string& text) {
  std::string name = text.empty() ? "source" : text;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-') c = '_';
  return name;
}

// Pictures of one size in a row, each under its name.
ImageU8 row_of(const std::vector<std::pair<std::string, ImageU8>>& pictures) {
  constexpr int kGap = 8, kLabel = 2 * kGlyphHeight + 10;
  const int height = pictures[0].second.height, width = pictures[0].second.width;
  ImageU8 sheet(height + kLabel + 2 * kGap,
                static_cast<int>(pictures.size()) * (width + kGap) + kGap, 3);
  fill_rectangle(sheet, 0, 0, sheet.height, sheet.width, {250, 250, 250});
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const int left = kGap + static_cast<int>(i) * (width + kGap);
    draw_text(sheet, pictures[i].first, kGap, left, {40, 40, 40}, 2);
    paste(sheet, to_rgb(pictures[i].second), kGap + kLabel, left);
  }
  return sheet;
}

void add_distribution(Report& report, const Options& o, const Dataset& dataset,
                      const fs::path& folder) {
  report.section("Distribution");
  std::vector<Figure> figures;
  for (std::size_t i = 0; i < o.data.size(); ++i) {
    const SourceSpec spec = parse_source_spec(o.data[i]);
    const std::map<std::string, std::int64_t> counts = findings_before_rules(o.data[i]);
    if (counts.empty()) continue;
    std::int64_t images = 0;
    for (const auto& [name, count] : counts) images += count;
    BarChart chart =
        count_chart(fmt::format("{}: {} images by finding", spec.kind, images), "images", counts);
    chart.caption = "Before the rules on finding, view, age and number.";
    figures.push_back(draw(chart));
    save_figure(figures.back(),
                folder / fmt::format("findings_{}_{}", i + 1, file_name(spec.kind)));
  }
  report.figures(figures);
  const Figure classes = draw(class_chart(dataset));
  save_figure(classes, folder / "classes");
  report.figure(classes);
}

void add_samples(Report& report, const Options& o, const Dataset& dataset, const fs::path& folder) {
  report.section("Samples");
  std::vector<std::string> sources;
  for (const Sample& sample : dataset.samples)
    if (std::find(sources.begin(), sources.end(), sample.source) == sources.end())
      sources.push_back(sample.source);
  for (const std::string& source : sources) {
    Dataset one;
    one.classes = dataset.classes;
    for (const Sample& sample : dataset.samples)
      if (sample.source == source) one.samples.push_back(sample);
    const ImageU8 sheet = sample_sheet(
        one, {.per_class = o.per_class, .seed = o.seed, .intensity = parse_intensity(o.intensity)});
    const fs::path path = folder / fmt::format("samples_{}.png", file_name(source));
    save_image(path, sheet);
    report.subsection(source);
    report.images({report_image(path, fmt::format("Up to {} images of each class, chosen by seed "
                                                  "{}; masks outlined in green.",
                                                  o.per_class, o.seed))},
                  1200);
  }
}

void add_steps(Report& report, const Options& o, const LungSegmenter& segmenter,
               const Example& example, const fs::path& folder) {
  const LungSteps s = segmenter.steps(example.gray);
  report.section("Segmentation steps");
  report.paragraph(fmt::format(
      "{}, by {}: the network's probability, the mask where it exceeds 0.5, dilation (8 "
      "times), closing (2 times), and what is kept. {} connected regions cover {:.0f} "
      "of 512 x 512 pixels; from {:.0f} on an image is accepted, so this one is {}.",
      example.name, o.segmenter, s.regions, s.area, o.min_area, s.kept ? "accepted" : "rejected"));
  const std::vector<std::pair<std::string, ImageU8>> pictures = {
      {"image", to_u8(s.gray)}, {"probability", to_u8(s.probability)},
      {"mask", s.raw},          {"dilated", s.dilated},
      {"closed", s.closed},     {"lungs cut", to_u8(s.cut)}};
  save_image(folder / "segmentation_steps.png", row_of(pictures));
  std::vector<ReportImage> images;
  for (const auto& [name, picture] : pictures) images.push_back(report_image(picture, name));
  report.images(images, 300);
}

void run(Options o) {
  const Device device = apply(o.compute);
  const Compute compute{device, parse_precision(o.precision, device)};
  THORAX_CHECK(gnuplot::problem().empty(), "[figures] {}", gnuplot::problem());
  const AugmentConfig augmentation = augment_preset(o.augment);
  // Before anything slow or written: wrong files are known at once.
  std::optional<LungSegmenter> segmenter;
  if (!o.segmenter.empty()) segmenter.emplace(o.segmenter, o.min_area, compute);
  std::vector<std::string> known;
  if (segmenter) known = segmenter->notes();
  o.intensity = name_of(chosen_intensity(
      o.intensity, segmenter ? segmenter->intensity() : Intensity::depth, o.segmenter, known));
  print_notes(known);
  Dataset dataset = load_datasets(o.data, parse_on_patient_conflict(o.on_patient_conflict));
  const fs::path folder = o.out;
  open_output_folder(folder);  // before every image is read
  const Inspection inspected = inspect_dataset(
      dataset, {.intensity = parse_intensity(o.intensity), .threads = num_threads()});
  const Example example = example_of(o, dataset);
  const DatasetSummary summary = summarize(dataset, &inspected);

  Report report("Data", fmt::format("{} images of {} patients, {} with a lung mask", summary.images,
                                    summary.patients, summary.with_mask));
  report.section("Summary");
  if (const std::string warning = confounding_warning(dataset); !warning.empty())
    report.warning(warning);
  if (!summary.report.conflicts.empty())
    report.warning(fmt::format("Patients with images in more than one class: {}.",
                               summary.report.conflicts.size()));
  if (!summary.identical.empty())
    report.warning(
        fmt::format("Groups of files that hold the same bytes: {}.", summary.identical.size()));
  if (!summary.unreadable.empty())
    report.warning(fmt::format("Files that cannot be read: {}.", summary.unreadable.size()));
  std::vector<std::pair<std::string, std::string>> facts;
  for (const SourceCount& source : summary.report.sources)
    facts.emplace_back(source.source, fmt::format("{}: {} entries, {} kept", source.path,
                                                  source.rows, source.kept));
  if (summary.width.most > 0)
    facts.emplace_back("size", fmt::format("{:.0f} to {:.0f} wide, {:.0f} to {:.0f} high (pixels)",
                                           summary.width.least, summary.width.most,
                                           summary.height.least, summary.height.most));
  if (summary.age_known > 0)
    facts.emplace_back(
        "age", fmt::format("{:.0f} to {:.0f} years, median {:.0f}, known for {}", summary.age.least,
                           summary.age.most, summary.age.median, summary.age_known));
  facts.emplace_back("checksum of names and sizes", summary.names_checksum);
  report.key_values(facts);

  report.section("What was removed");
  const Table removed = exclusion_table(o.data, dataset);
  save_table(removed, folder / "exclusions");
  report.table(removed);
  add_distribution(report, o, dataset, folder);
  add_samples(report, o, dataset, folder);
  if (segmenter) add_steps(report, o, *segmenter, example, folder);
  report.section("Augmentation");
  save_image(folder / "augmentation.png",
             augmentation_sheet(example.gray, example.mask, augment_processes(augmentation), 5, 192,
                                o.seed));
  report.images({report_image(folder / "augmentation.png",
                              fmt::format("{}: on the left as it is, then five draws of each "
                                          "process of '{}' alone, and of all together; the "
                                          "outline of the mask, if there is one, in green.",
                                          example.name, o.augment))},
                1200);
  if (!summary.report.notes.empty() || !summary.inspection.empty() || !summary.unreadable.empty() ||
      !summary.identical.empty()) {
    report.section("Details").list(summary.report.notes);
    if (!summary.inspection.empty()) report.list(summary.inspection);
    if (!summary.unreadable.empty())
      report.begin_details("Files that cannot be read").list(summary.unreadable).end_details();
    if (!summary.identical.empty()) {
      std::vector<std::string> groups;
      for (const auto& group : summary.identical)
        groups.push_back(fmt::format("{}", fmt::join(group, " = ")));
      report.begin_details("Files with the same bytes").list(groups).end_details();
    }
  }
  report.write(folder / "report.html");
  fmt::print("{}\n{}\n", to_text(removed), (folder / "report.html").string());
}

}  // namespace

void add_data_figures(CLI::App& data, const char* kinds) {
  static Options o;
  CLI::App* c = data.add_subcommand(
      "figures", "Figures and tables of a data set, gathered in one report.html");
  c->add_option("--data", o.data, "kind:PATH[,key=value]; may be given several times")->required();
  c->add_option("--out", o.out, "Folder for report.html, the figures and tables")->required();
  c->add_option("--segmenter", o.segmenter, "Checkpoint of a UNet: shows its steps on one image");
  c->add_option("--min-area", o.min_area, "Least lung area, pixels of 512 x 512")
      ->capture_default_str()
      ->check(kArea);
  c->add_option("--image", o.image,
                "File for the steps and the augmentation: a name in the data, or a path (default: "
                "one of the data, with a mask if there is one)");
  c->add_option("--augment", o.augment, "Recipe that is shown")
      ->capture_default_str()
      ->check(CLI::IsMember({"study", "light", "none"}));
  c->add_option("--per-class", o.per_class, "Images of each class on a sample sheet")
      ->capture_default_str()
      ->check(in_range(1, 600));
  c->add_option("--seed", o.seed, "Seed of everything random")->capture_default_str()->check(kSeed);
  c->add_option("--on-patient-conflict", o.on_patient_conflict,
                "Patients with images of several classes: report, error or drop")
      ->capture_default_str()
      ->check(CLI::IsMember({"report", "error", "drop"}));
  add_intensity_override(*c, o.intensity);
  add_precision_option(*c, o.precision);
  add_compute_options(*c, o.compute);
  c->footer(std::string(kinds) +
            "Example:\n  thorax data figures --data covid:DIR --data nih:DIR2 --out figures "
            "--segmenter runs/lungs/last.safetensors");
  c->callback([] { run(o); });
}

}  // namespace thorax::app
