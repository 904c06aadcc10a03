#include "apps/duplicates_command.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <filesystem>

#include "apps/command.h"
#include "apps/intensity.h"
#include "apps/number_checks.h"
#include "data/duplicates.h"
#include "data/duplicates_report.h"
#include "data/encode.h"
#include "engine/io/atomic_file.h"
#include "engine/io/json_text.h"
#include "engine/io/output_folder.h"
#include "engine/runtime/parallel.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> data;
  std::string splits, out, on_error = "fail", intensity = "depth";
  double min_correlation = DuplicateOptions{}.min_correlation;
  bool json = false;
  ComputeOptions compute;
};

void write_files(const Options& o, const DuplicateTable& table) {
  const fs::path folder = o.out;
  atomic_write(folder / "duplicates.csv", duplicates_csv(table));
  atomic_write(folder / "duplicates.json", dump_json(duplicates_json(table), 2) + "\n");
  const std::vector<ImageU8> sheets = duplicate_sheets(table);
  for (std::size_t i = 0; i < sheets.size(); ++i)
    save_image(folder / fmt::format("pairs_{:02}.png", i), sheets[i]);
  // The same data with one id for patients who share a radiograph.
  Dataset joined = table.dataset;
  join_patients(joined, patients_sharing_images(table.dataset, table.report.pairs));
  write_manifest(joined, folder / "manifest.csv");
}

void run(const Options& o) {
  apply(o.compute);
  const Dataset dataset = load_datasets(o.data);
  std::vector<int> held_out;
  if (!o.splits.empty()) {
    std::vector<SplitItem> items;
    for (const Sample& sample : dataset.samples)
      items.push_back({sample.id, sample.patient, std::max(sample.label, 0)});
    held_out = held_out_folds(dataset, load_splits(o.splits, items));
  }
  if (!o.out.empty()) open_output_folder(o.out);  // before the long search
  const DuplicateReport report =
      find_duplicates(dataset, {.min_correlation = o.min_correlation,
                                .skip_unreadable = o.on_error == "skip",
                                .threads = num_threads(),
                                .intensity = parse_intensity(o.intensity)});
  const DuplicateTable table{dataset, report, held_out};
  if (!o.out.empty()) write_files(o, table);
  if (o.json) {
    fmt::print("{}\n", dump_json(duplicates_json(table), 2));
    return;
  }
  // A reader keeps the first row of a file that its table names twice, whoever the second is.
  for (const FilterRule& rule : dataset.report.rules)
    if (rule.name == "named once" && rule.removed > 0)
      fmt::print("{}: {} rows name a file that an earlier row names, and are not read\n",
                 rule.source, rule.removed);
  fmt::print("{}", duplicates_text(table));
  for (const auto& group : patients_sharing_images(dataset, report.pairs))
    fmt::print("one patient? {}\n", fmt::join(group, ", "));
  if (!o.out.empty())
    fmt::print("{}/duplicates.csv  duplicates.json  {}manifest.csv (such patients joined)\n", o.out,
               report.pairs.empty() ? "" : "pairs_*.png  ");
}

}  // namespace

void add_duplicates(CLI::App& data, const char* kinds) {
  static Options o;
  CLI::App* c = data.add_subcommand(
      "duplicates", "Find the same radiograph under two names: cropped, rescaled, written on");
  c->add_option("--data", o.data, "kind:PATH[,key=value]; may be given several times")->required();
  c->add_option("--splits", o.splits,
                "A run's splits.json: says which pairs sit on both sides of a fold (give "
                "--data manifest:RUN/manifest.csv)");
  c->add_option("--out", o.out,
                "Folder for duplicates.csv, duplicates.json, pairs_*.png, and manifest.csv with "
                "such patients joined");
  c->add_option("--min-correlation", o.min_correlation,
                "Claim pairs that agree at least so well (see data/README.md)")
      ->capture_default_str()
      ->check(in_range(0.3, 1.0));
  c->add_option("--on-error", o.on_error, "What an unreadable image does: fail or skip")
      ->capture_default_str()
      ->check(CLI::IsMember({"fail", "skip"}));
  add_intensity_option(*c, o.intensity);
  c->add_flag("--json", o.json, "Print JSON");
  add_compute_options(*c, o.compute);
  c->footer(std::string(kinds) +
            "Example:\n  thorax data duplicates --data covid:DIR,finding=all --out twice\n"
            "  thorax kfold classifier --data manifest:twice/manifest.csv ...");
  c->callback([] { run(o); });
}

}  // namespace thorax::app
