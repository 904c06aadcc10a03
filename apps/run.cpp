#include "apps/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "apps/cut_lungs.h"
#include "data/duplicates.h"
#include "engine/io/atomic_file.h"
#include "engine/io/checksum.h"
#include "engine/io/config.h"
#include "engine/io/file_lock.h"
#include "engine/registry/autotune.h"
#include "engine/runtime/parallel.h"
#include "engine/train/checkpoint.h"
#include "engine/train/run_folder.h"

namespace thorax::app {

namespace fs = std::filesystem;

namespace {

void print_report(const Dataset& dataset) {
  for (const SourceCount& source : dataset.report.sources)
    fmt::print("{:<12} {:>6} read {:>6} kept  {}\n", source.source, source.rows, source.kept,
               source.path);
  for (const FilterRule& rule : dataset.report.rules)
    if (rule.removed > 0)
      fmt::print("  {:>6} removed by {}: {}\n", rule.removed, rule.source, rule.name);
  for (const std::string& note : dataset.report.notes) fmt::print("  note: {}\n", note);
  std::string classes;
  for (const auto& [name, count] : class_counts(dataset))
    classes += fmt::format("  {} {}", name, count);
  fmt::print("{} images{}\n", dataset.samples.size(), classes);
}

OnPatientConflict on_conflict(const TrainSettings& settings) {
  return parse_on_patient_conflict(settings.on_patient_conflict);
}

// Patients who share a radiograph become one. That one may have images of two classes.
void join_duplicates(Dataset& dataset, const TrainSettings& settings) {
  const DuplicateReport found = find_duplicates(
      dataset, {.skip_unreadable = settings.on_error == "skip", .threads = num_threads()});
  join_patients(dataset, patients_sharing_images(dataset, found.pairs));
  check_patients(dataset, on_conflict(settings));
}

// What no setting mends. Before the run's folder is made, so that none is left behind.
void check_learnable(Task task, const Dataset& dataset) {
  if (task == Task::classifier) {
    THORAX_CHECK(dataset.classes.size() == 2,
                 "[run] a classifier needs two classes, the data has {}: {}",
                 dataset.classes.size(), fmt::join(dataset.classes, ", "));
    return;
  }
  const auto missing = [](const Sample& s) { return s.masks.empty(); };
  const auto first = std::find_if(dataset.samples.begin(), dataset.samples.end(), missing);
  THORAX_CHECK(
      first == dataset.samples.end(),
      "[run] a segmenter learns from lung masks; {} of {} images have none, the first is {} "
      "(--data KIND:PATH,masks=FOLDER says where they are, mask=required leaves such images out)",
      std::count_if(dataset.samples.begin(), dataset.samples.end(), missing),
      dataset.samples.size(), first->image.string());
}

// As a run leaves its folder that was killed before config.json was there.
bool nothing_but_lock(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename() != "lock") return false;
  return true;
}

}  // namespace

Grouping grouping(const TrainSettings& settings) {
  return settings.group == "patient" ? Grouping::group : Grouping::image;
}

Run open_run(const TrainSettings& settings, const RunRequest& options, const Compute& compute) {
  Run run;
  run.folder = options.folder;
  const fs::path config = run.folder / "config.json";
  nlohmann::json now{
      {"command", options.command}, {"version", THORAX_VERSION}, {"settings", settings.to_json()}};
  bool tuned = autotuning();
  if (tuned) now["autotune"] = true;
  if (!options.extra.is_null()) now["experiment"] = options.extra;
  if (!settings.segmenter.empty()) now["segmenter_checksum"] = file_checksum(settings.segmenter);
  THORAX_CHECK(!(options.resume && options.overwrite),
               "[run] --resume and --overwrite exclude each other");
  if (fs::exists(config)) {
    THORAX_CHECK(options.resume || options.overwrite,
                 "[run] {}: holds a run already; give --resume, --overwrite or another --out",
                 run.folder.string());
    if (options.overwrite) fs::remove_all(run.folder);
  } else {
    // A run that was killed while it wrote config.json, its first file, left that file's temporary.
    if (fs::exists(run.folder)) remove_leftovers(config);
    THORAX_CHECK(!fs::exists(run.folder) || nothing_but_lock(run.folder),
                 "[run] {}: exists, is not empty and is no run", run.folder.string());
  }
  run.dataset = load_datasets(settings.data, on_conflict(settings));
  now["data_checksum"] = dataset_checksum(run.dataset);
  if (fs::exists(config)) {
    const nlohmann::json before = load_json(config);
    // The version may change between a run and its continuation; what decides the result may not.
    nlohmann::json comparable = now;
    comparable["version"] = before.value("version", "");
    // Other kernels would change the bits: a run goes on as it began.
    THORAX_CHECK(!tuned || before.contains("autotune"),
                 "[run] {}: was started without --autotune and goes on without", config.string());
    if (before.contains("autotune") && !tuned) {
      tuned = true;
      comparable["autotune"] = true;
      fmt::print(stderr, "[run] {}: was started with --autotune and goes on with its choices\n",
                 config.string());
    }
    const std::string different = config_differences(before, comparable);
    THORAX_CHECK(different.empty(), "[run] {}: was started with other settings: {}",
                 config.string(), different);
  }
  check_learnable(settings.task, run.dataset);
  // First of all: a run that is killed from here on can be resumed.
  fs::create_directories(run.folder);
  const FileLock lock(run.folder / "lock");
  if (!fs::exists(config)) save_json(config, now);
  // With autotuning a run keeps its choices, so that it goes on with the kernels that it began
  // with, whatever has become of the cache.
  if (tuned) {
    start_autotuning();
    autotune_record(run.folder / "autotune.json");
  }
  // What computed it, one entry per start: a run may be continued on another machine.
  const fs::path record = run.folder / "provenance.json";
  nlohmann::json starts = fs::exists(record) ? load_json(record) : nlohmann::json::array();
  starts.push_back(provenance(compute.device));
  save_json(record, starts);
  if (!settings.segmenter.empty()) {
    const LungSegmenter segmenter(settings.segmenter, settings.min_area, compute);
    run.dataset = cut_dataset(segmenter, run.dataset, run.folder / "cut",
                              {.skip_unreadable = settings.on_error == "skip"});
  }
  if (settings.duplicates == "join") join_duplicates(run.dataset, settings);
  print_report(run.dataset);
  for (const Sample& sample : run.dataset.samples)
    run.items.push_back({sample.id, sample.patient, std::max(sample.label, 0)});
  write_manifest(run.dataset, run.folder / "manifest.csv");
  return run;
}

Splits run_splits(const Run& run, const std::string& name,
                  const std::function<Splits(const std::vector<SplitItem>&)>& make) {
  const fs::path path = run.folder / name;
  if (fs::exists(path)) return load_splits(path, run.items);
  const Splits splits = make(run.items);
  save_splits(path, splits, run.items);
  return splits;
}

std::vector<Sample> select(const Dataset& dataset, const std::vector<std::string>& ids) {
  std::unordered_map<std::string, const Sample*> by_id;
  for (const Sample& sample : dataset.samples) by_id[sample.id] = &sample;
  std::vector<Sample> result;
  for (const std::string& id : ids) {
    const auto found = by_id.find(id);
    THORAX_CHECK(found != by_id.end(), "[run] split names '{}', which the data lacks", id);
    result.push_back(*found->second);
  }
  return result;
}

}  // namespace thorax::app
