// `thorax data`: make the built-in phantoms, look at a data set, draw its figures, find duplicates
// in it.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/command.h"
#include "apps/duplicates_command.h"
#include "apps/figures_command.h"
#include "apps/intensity.h"
#include "apps/number_checks.h"
#include "data/dataset.h"
#include "data/describe.h"
#include "data/encode.h"
#include "data/phantom.h"
#include "engine/io/json_text.h"
#include "engine/io/output_folder.h"
#include "engine/runtime/parallel.h"

namespace thorax::app {
namespace {

constexpr const char* kKinds =
    "--data kind:PATH[,key=value]...; kinds:\n"
    "  covid       metadata.csv, images/          finding=covid|all view=frontal|all masks=DIR\n"
    "  nih         Data_Entry_2017*.csv, images/  finding=NAME|all min_age=18\n"
    "  chexpert    train.csv                      finding=none|all min_age=19 table=FILE\n"
    "  montgomery  CXR_png/, ManualMask/{leftMask,rightMask}\n"
    "  shenzhen    CXR_png/, mask/\n"
    "  folder      a folder of class folders\n"
    "  dicom       a folder of studies            table=FILE folders=classes view=frontal|all "
    "frames=first|all|N\n"
    "  manifest    CSV: "
    "path,label[,patient,mask,mask_values,organs,mask_NAME,source,finding,view,age,positive]\n"
    "              or, for several findings an image, a column label:NAME for each: 1, 0, -1, "
    "empty\n"
    "Several findings an image of chexpert, nih and manifest: labels=multi findings=A,B\n"
    "  uncertain=ignore|zeros|ones blank=unknown|negative (--task multilabel asks all for it)\n"
    "Keys of every kind: class=NAME positive=NAME classes=A,B count=N seed=S exclude=FILE "
    "mask=required|optional|none mask_values=auto|nonzero|half|N[+N...] source=NAME; a comma of "
    "the "
    "path before KEY= is written \\,\n"
    "Several organs: organs=lungs:1+2,heart:3 for label maps (background:4 is no organ), "
    "organs=auto for their values, organs=lungs,heart for masks of their own (columns mask_NAME, "
    "folders masks/NAME/)\n\n";

struct PhantomOptions {
  PhantomConfig config;
  std::string out, masks = "lungs";
  ComputeOptions compute;
};

void make_phantoms(const PhantomOptions& o) {
  apply(o.compute);
  PhantomConfig config = o.config;
  config.masks = parse_phantom_masks(o.masks);
  const std::filesystem::path manifest = write_phantoms(config, o.out, num_threads());
  fmt::print("{} phantoms of {} patients: --data manifest:{}\n", phantom_list(o.config).size(),
             o.config.patients, manifest.string());
}

void add_phantoms(CLI::App& data) {
  static PhantomOptions o;
  CLI::App* c = data.add_subcommand(
      "phantoms", "Draw artificial chest X-rays with exact lung masks: needs no download");
  c->add_option("--out", o.out, "Folder for CXR_png/, mask/ and manifest.csv")->required();
  c->add_option("--masks", o.masks,
                "lungs; labels: label maps of lungs (1) and heart (2); organs: masks/lungs/ and "
                "masks/heart/, which overlap")
      ->capture_default_str()
      ->check(CLI::IsMember({"lungs", "labels", "organs"}));
  c->add_option("--patients", o.config.patients, "Number of patients")
      ->capture_default_str()
      ->check(in_range(1, 1'000'000));
  c->add_option("--max-images", o.config.max_images, "Images of a patient: 1 to this many")
      ->capture_default_str()
      ->check(in_range(1, 1'000'000));
  c->add_option("--size", o.config.size, "Side of an image in pixels")
      ->capture_default_str()
      ->check(in_range(16, 8192));
  c->add_option("--positive-share", o.config.positive_share, "Share of patients with opacities")
      ->capture_default_str()
      ->check(kShare);
  c->add_option("--severity", o.config.severity,
                "Strength of the opacities; 0 makes both classes alike")
      ->capture_default_str()
      ->check(in_range(0.0, 1e6));
  c->add_option("--confounding", o.config.confounding,
                "Probability that text marker and exposure give the class away")
      ->capture_default_str()
      ->check(kShare);
  c->add_option("--seed", o.config.seed, "Seed of everything random")
      ->capture_default_str()
      ->check(kSeed);
  add_compute_options(*c, o.compute);
  c->footer("Example:\n  thorax data phantoms --patients 40 --out phantoms");
  c->callback([] { make_phantoms(o); });
}

struct DescribeOptions {
  std::vector<std::string> data;
  std::string on_patient_conflict = "report", intensity = "depth", out;
  bool quick = false, json = false;
  ComputeOptions compute;
};

void describe(const DescribeOptions& o) {
  apply(o.compute);
  Dataset dataset = load_datasets(o.data, parse_on_patient_conflict(o.on_patient_conflict));
  if (!o.out.empty()) open_output_folder(o.out);  // before every image is read
  std::optional<Inspection> inspected;
  if (!o.quick)
    inspected = inspect_dataset(
        dataset, {.intensity = parse_intensity(o.intensity), .threads = num_threads()});
  const DatasetSummary summary = summarize(dataset, inspected ? &*inspected : nullptr);
  if (o.json)
    fmt::print("{}\n", dump_json(describe_json(summary), 2));
  else
    fmt::print("{}", describe_text(summary));
  if (o.out.empty()) return;
  const std::filesystem::path folder = o.out;
  save_image(folder / "samples.png",
             sample_sheet(dataset, {.intensity = parse_intensity(o.intensity)}));
  save_image(folder / "findings.png", bar_chart("images per finding", summary.findings));
  write_manifest(dataset, folder / "manifest.csv");
  if (!o.json) fmt::print("{}: samples.png findings.png manifest.csv\n", folder.string());
}

void add_describe(CLI::App& data) {
  static DescribeOptions o;
  CLI::App* c = data.add_subcommand(
      "describe", "Counts, classes, sizes, what every rule removed; a sample sheet");
  c->add_option("--data", o.data, "kind:PATH[,key=value]; may be given several times")->required();
  c->add_option("--on-patient-conflict", o.on_patient_conflict,
                "Patients with images of several classes: report, error or drop")
      ->capture_default_str()
      ->check(CLI::IsMember({"report", "error", "drop"}));
  c->add_option("--out", o.out, "Folder for samples.png, findings.png and manifest.csv");
  add_intensity_option(*c, o.intensity);
  c->add_flag("--quick", o.quick,
              "Do not open images and masks: no sizes, no search for identical ones");
  c->add_flag("--json", o.json, "Print JSON");
  add_compute_options(*c, o.compute);
  c->footer(std::string(kKinds) +
            "Example:\n  thorax data describe --data covid:DIR --data nih:DIR2 --out described");
  c->callback([] { describe(o); });
}

void add(CLI::App& root) {
  CLI::App* data = root.add_subcommand(
      "data", "Make phantoms, describe data sets, draw their figures, find duplicates");
  data->require_subcommand(1);
  data->footer(kKinds);
  add_phantoms(*data);
  add_describe(*data);
  add_data_figures(*data, kKinds);
  add_duplicates(*data, kKinds);
}

}  // namespace
THORAX_COMMAND(10, add)
}  // namespace thorax::app
