#include "apps/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "apps/class_balance.h"
#include "apps/console.h"
#include "apps/cut_lungs.h"
#include "apps/data_checksum.h"
#include "apps/preflight.h"
#include "apps/ranks.h"
#include "apps/run_files.h"
#include "apps/training.h"
#include "data/csv.h"
#include "data/duplicates.h"
#include "data/formats/format.h"
#include "data/inspect.h"
#include "data/multilabel.h"
#include "engine/io/atomic_file.h"
#include "engine/io/checksum.h"
#include "engine/io/config.h"
#include "engine/registry/autotune.h"
#include "engine/runtime/parallel.h"
#include "engine/train/checkpoint.h"

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
  if (dataset.multilabel) {
    fmt::print("{} images\n{}", dataset.samples.size(), findings_table(dataset));
    return;
  }
  std::string classes;
  for (const auto& [name, count] : class_counts(dataset))
    classes += fmt::format("  {} {}{}", name.empty() ? "(no class)" : name, count,
                           !name.empty() && name == dataset.positive ? " (positive)" : "");
  fmt::print("{} images{}\n", dataset.samples.size(), classes);
}

OnPatientConflict on_conflict(const TrainSettings& settings) {
  return parse_on_patient_conflict(settings.on_patient_conflict);
}

// Patients who share a radiograph become one. That one may have images of two classes.
void join_duplicates(Dataset& dataset, const TrainSettings& settings) {
  const DuplicateReport found =
      find_duplicates(dataset, {.skip_unreadable = settings.on_error == "skip",
                                .threads = num_threads(),
                                .intensity = parse_intensity(settings.intensity)});
  join_patients(dataset, patients_sharing_images(dataset, found.pairs));
  check_patients(dataset, on_conflict(settings));
}

// The configuration of a run of these settings.
nlohmann::json configuration(const TrainSettings& settings, const RunRequest& request) {
  nlohmann::json config{
      {"command", request.command}, {"version", THORAX_VERSION}, {"settings", settings.to_json()}};
  if (autotuning()) config["autotune"] = true;
  if (!request.extra.is_null()) config["experiment"] = request.extra;
  // Where these lie may change, what they hold may not.
  if (!settings.segmenter.empty()) config["segmenter_checksum"] = file_checksum(settings.segmenter);
  if (!settings.weights.empty()) config["weights_checksum"] = file_checksum(settings.weights);
  return config;
}

void say(const std::string& text) {
  fmt::print(stderr, "{}\n", text);
}

// Removes from `now` the settings that an earlier version did not know, where they are the default,
// and names them.
std::vector<std::string> forget_unknown(nlohmann::json& now, const nlohmann::json& before,
                                        Task task) {
  std::vector<std::string> unknown;
  const nlohmann::json defaults = default_settings(task).to_json();
  for (const auto& [key, value] : defaults.items()) {
    if (before.contains(key) || !now.contains(key) || now.at(key) != value) continue;
    now.erase(key);
    unknown.push_back(key);
  }
  return unknown;
}

// Throws when the run cannot go on with what the command says now. `now` loses what earlier
// versions did not record.
void check_continues(const RunFolder& home, nlohmann::json now, const Run& run,
                     const FileChecksums& files, Task task) {
  const fs::path file = home.path() / "config.json";
  const nlohmann::json& before = home.config();
  std::string data = run.data_checksum;
  if (home.format() == 1) {
    data = run.names_checksum;
    say(
        fmt::format("[run] {}: was begun by an earlier version, which compared names and sizes of "
                    "images, not what they hold; so does this start",
                    file.string()));
  }
  const std::string changed =
      files.changed().empty() ? "" : fmt::format(", such as {}", files.changed().front());
  const std::string began_with = before.value("data_checksum", data);
  THORAX_CHECK(began_with == data,
               "[run] {}: the data is not what the run began with (checksum {}, now {}): images, "
               "masks, patients or classes have changed, come or gone{}; bring them back, or begin "
               "another run",
               file.string(), began_with, data, changed);
  now.erase("data_checksum");
  if (home.format() == 1) {
    now.erase("weights_checksum");
    const std::vector<std::string> unknown =
        forget_unknown(now.at("settings"), before.at("settings"), task);
    if (!unknown.empty())
      say(fmt::format("[run] {}: says nothing of {}, which goes on with its default", file.string(),
                      fmt::join(unknown, ", ")));
    const nlohmann::json::json_pointer rows("/experiment/rows");
    if (now.contains(rows) && before.contains(rows) &&
        now.at(rows).size() == before.at(rows).size())
      for (std::size_t i = 0; i < now.at(rows).size(); ++i)
        forget_unknown(now.at(rows)[i].at("settings"), before.at(rows)[i].at("settings"), task);
  }
  if (!before.contains("classes")) now.erase("classes");
  nlohmann::json comparable = before;
  comparable.erase("data_checksum");
  const std::string different = config_differences(without_places(comparable), without_places(now));
  THORAX_CHECK(different.empty(), "[run] {}: was started with other settings: {}", file.string(),
               different);
  const auto places = [](const nlohmann::json& config) {
    const nlohmann::json& settings = config.at("settings");
    nlohmann::json found;
    for (const char* key : {"data", "segmenter", "weights"})
      found[key] = settings.value(key, nlohmann::json());
    return found;
  };
  if (places(before) != places(now))
    say(fmt::format("[run] {}: goes on with the same files at other places", file.string()));
}

// Opens every file, so that a bad one is known now and not after an epoch. Returns what a person
// should know.
std::vector<std::string> inspect(const TrainSettings& settings, bool many_views, Dataset& dataset) {
  const bool segmenter = settings.task == Task::segmenter;
  // A segmenter's lungs take the place of the data's own masks.
  const bool masks =
      segmenter || (settings.segmenter.empty() && (many_views || needs_mask(settings.seen())));
  const Inspection seen = inspect_dataset(
      dataset,
      {.intensity = parse_intensity(settings.intensity), .masks = masks, .threads = num_threads()});
  remove_unusable(dataset, seen, settings.on_error != "skip");
  const std::vector<std::string> problems = seen.problems();
  THORAX_CHECK(!dataset.samples.empty(), "[run] none of {} images can be used; the first: {}",
               seen.problem.size(), (problems.empty() ? seen.blanks() : problems).front());
  if (segmenter) {
    require_varied_masks(seen);
    require_separate_organs(settings, dataset);
  }
  return inspection_lines(seen);
}

bool leaves_out(const FilterRule& rule) {
  return rule.name == "readable file" || rule.name == "image shows something";
}

// folder/unreadable.csv and stderr: what --on-error skip has left out, and why.
void list_left_out(const Dataset& dataset, const fs::path& folder) {
  std::string csv = csv_line({"rule", "reason"});
  for (const FilterRule& rule : dataset.report.rules) {
    if (!leaves_out(rule)) continue;
    for (const std::string& reason : rule.files) {
      say("left out: " + reason);
      csv += csv_line({rule.name, reason});
    }
  }
  atomic_write(folder / "unreadable.csv", csv);
}

// One entry per start: a run may be continued on another machine, which is said.
RunHistory record_start(const RunFolder& home, const TrainSettings& settings,
                        const Compute& compute) {
  nlohmann::json entry = provenance(compute.device);
  entry["data"] = settings.data;
  entry["jpeg_reader"] = reader_of("jpeg");
  if (ranks().size() > 1)
    entry["ranks"] = {{"count", ranks().size()}, {"library", ranks().library()}};
  if (!settings.segmenter.empty()) entry["segmenter"] = settings.segmenter;
  if (!settings.weights.empty()) entry["weights"] = settings.weights;
  RunHistory history(home.path() / "provenance.json", entry, say);
  const std::string different = provenance_differences(history.previous(), entry);
  if (!different.empty())
    say(
        fmt::format("[run] {}: goes on in another way than before: {}. The last bits of its result "
                    "may differ from those of a run that was not interrupted",
                    home.path().string(), different));
  return history;
}

// What is to be learned from, refused where it cannot be.
Dataset load_learnable(const TrainSettings& settings) {
  Dataset dataset = load_datasets(settings.data, on_conflict(settings),
                                  parse_class_task(settings.classification));
  check_learnable(settings.task, dataset);
  check_balance(settings, dataset);
  return dataset;
}

// The network of the settings, as it fits the data, and those of the request.
void check_networks(const TrainSettings& fitting, const RunRequest& request,
                    const Dataset& dataset) {
  const bool multilabel = dataset.multilabel && fitting.task == Task::classifier;
  const std::size_t outputs =
      fitting.task == Task::segmenter
          ? static_cast<std::size_t>(organ_task(fitting, dataset.samples).outputs())
          : output_count(dataset.classes, multilabel);
  check_lungs(fitting, dataset);
  for (const TrainSettings& network : request.networks) check_lungs(network, dataset);
  check_network(fitting, outputs);
  std::vector<nlohmann::json> seen{fitting.model};
  for (const TrainSettings& network : request.networks)
    if (std::find(seen.begin(), seen.end(), network.model) == seen.end()) {
      check_network(fitted(network, dataset.classes, dataset.multilabel), outputs);
      seen.push_back(network.model);
    }
}

// A segmenter learns masks: its images are dealt out by patient, whatever class they are of.
std::vector<SplitItem> split_items(const Dataset& dataset, Task task) {
  const bool classes = task == Task::classifier;
  std::vector<SplitItem> items;
  for (const Sample& sample : dataset.samples)
    items.push_back({sample.id, sample.patient, classes ? std::max(sample.label, 0) : 0,
                     classes ? sample.class_name : "",
                     classes ? sample.labels : std::vector<std::int8_t>{}});
  return items;
}

}  // namespace

std::map<std::string, std::int64_t> left_out_counts(const Dataset& dataset) {
  std::map<std::string, std::int64_t> counts;
  for (const FilterRule& rule : dataset.report.rules)
    if (leaves_out(rule) && rule.removed > 0) counts[rule.name] += rule.removed;
  return counts;
}

nlohmann::json without_places(nlohmann::json config) {
  config.erase("version");
  config.erase("autotune");  // as the device, it may be another
  if (config.contains("settings")) erase_places(config["settings"]);
  if (config.contains("experiment") && config["experiment"].contains("rows"))
    for (nlohmann::json& row : config["experiment"]["rows"]) erase_places(row["settings"]);
  return config;
}

Grouping grouping(const TrainSettings& settings) {
  return settings.group == "patient" ? Grouping::group : Grouping::image;
}

Run open_run(const TrainSettings& settings, const RunRequest& request, const Compute& compute) {
  THORAX_CHECK(!(request.resume && request.overwrite),
               "[run] --resume and --overwrite exclude each other");
  Run run;
  run.folder = request.folder;
  run.home = std::make_shared<RunFolder>(request.folder,
                                         request.resume      ? IfExists::resume
                                         : request.overwrite ? IfExists::overwrite
                                                             : IfExists::refuse,
                                         request.mode, say);
  RunFolder& home = *run.home;
  if (request.overwrite && fs::exists(home.path())) check_only_run_files(home.path());
  bool tuned = autotuning();
  if (home.resumed()) {
    // Other kernels would change the bits: a run goes on as it began.
    const bool was_tuned = home.config().contains("autotune");
    THORAX_CHECK(!tuned || was_tuned,
                 "[run] {}: was started without --autotune and goes on without",
                 (run.folder / "config.json").string());
    if (was_tuned && !tuned)
      say(fmt::format("[run] {}: was started with --autotune and goes on with its choices",
                      (run.folder / "config.json").string()));
    tuned = was_tuned;
  }
  // Everything that may be wrong, before anything is written.
  run.dataset = load_learnable(settings);
  const bool multilabel = run.dataset.multilabel && settings.task == Task::classifier;
  const OrganOutputs organs = organ_task(settings, run.dataset.samples);
  check_organ_task(settings, organs);
  const TrainSettings fitting = fitted(fitted(settings, run.dataset.classes, multilabel), organs);
  FileChecksums files(home.path() / "data_checksums.json");
  run.data_checksum = content_checksum(run.dataset, files);
  run.names_checksum = dataset_checksum(run.dataset);
  nlohmann::json config = configuration(fitting, request);
  config["data_checksum"] = run.data_checksum;
  // Which label a class has, and so which of two is the positive one.
  config["classes"] = run.dataset.classes;
  if (multilabel) config["labels"] = "multi";
  if (!organs.plain()) config["organs"] = to_json(organs);
  std::optional<LungSegmenter> segmenter;
  if (!settings.segmenter.empty()) {
    segmenter.emplace(settings.segmenter, settings.min_area, compute);
    print_notes(segmenter->notes());
  }
  std::optional<std::vector<std::string>> lines;  // on the files
  if (!home.resumed()) {
    check_networks(fitting, request, run.dataset);
    check_inputs_outside(settings, run.dataset, home.path());
    lines = inspect(settings, !request.extra.is_null(), run.dataset);
    home.create(config);
  }
  if (home.resumed()) check_continues(home, config, run, files, settings.task);
  if (!lines) lines = inspect(settings, !request.extra.is_null(), run.dataset);
  files.save(run.folder / "data_checksums.json");
  // With autotuning a run keeps its choices, so that it goes on with the kernels that it began
  // with, whatever has become of the cache.
  if (tuned) {
    start_autotuning();
    autotune_record(run.folder / "autotune.json");
  }
  run.history = std::make_shared<RunHistory>(record_start(home, settings, compute));
  if (segmenter)
    run.dataset = cut_dataset(*segmenter, run.dataset, run.data_checksum, run.folder / "cut",
                              {.skip_unreadable = settings.on_error == "skip"});
  if (settings.duplicates == "join") join_duplicates(run.dataset, settings);
  if (settings.on_error == "skip") list_left_out(run.dataset, run.folder);
  print_report(run.dataset);
  for (const std::string& line : *lines) fmt::print("{}\n", line);
  run.items = split_items(run.dataset, settings.task);
  write_manifest(run.dataset, run.folder / "manifest.csv");
  return run;
}

ReadData read_data(const TrainSettings& settings, const RunRequest& request, const Compute& compute,
                   const fs::path& cut) {
  ReadData data;
  data.dataset = load_learnable(settings);
  const bool multilabel = data.dataset.multilabel && settings.task == Task::classifier;
  const OrganOutputs organs = organ_task(settings, data.dataset.samples);
  check_organ_task(settings, organs);
  check_networks(fitted(fitted(settings, data.dataset.classes, multilabel), organs), request,
                 data.dataset);
  std::optional<LungSegmenter> segmenter;
  if (!settings.segmenter.empty()) {
    segmenter.emplace(settings.segmenter, settings.min_area, compute);
    print_notes(segmenter->notes());
  }
  data.lines = inspect(settings, !request.networks.empty(), data.dataset);
  if (segmenter && !cut.empty()) {
    FileChecksums files(cut / "data_checksums.json");
    const std::string checksum = content_checksum(data.dataset, files);
    data.dataset = cut_dataset(*segmenter, data.dataset, checksum, cut,
                               {.skip_unreadable = settings.on_error == "skip"});
  }
  if (settings.duplicates == "join") join_duplicates(data.dataset, settings);
  data.items = split_items(data.dataset, settings.task);
  return data;
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
