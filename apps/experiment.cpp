#include "apps/experiment.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "apps/command.h"
#include "apps/fold_files.h"
#include "apps/inference/run_networks.h"
#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/io/file_lock.h"
#include "engine/io/file_name.h"
#include "engine/runtime/philox.h"
#include "engine/train/checkpoint.h"
#include "engine/train/label_stratification.h"

namespace thorax::app {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kLabelStream = 0x6c6162656c73;  // "labels"

// What the patients have is dealt anew to whole patients, everything as often as before.
template <class Label>
void deal_anew(std::map<std::string, Label>& of_patient, std::uint64_t seed) {
  std::vector<Label> labels;
  for (const auto& [patient, label] : of_patient) labels.push_back(label);
  Philox random(seed, kLabelStream);
  for (std::size_t i = labels.size(); i > 1; --i) {
    std::swap(labels[i - 1], labels[static_cast<std::size_t>(random.below(i))]);
  }
  std::size_t next = 0;
  for (auto& [patient, label] : of_patient) label = labels[next++];
}

// Every patient gets all findings of another one, so that findings that come together still do. A
// patient has a finding that any of the patient's images has; one that no image tells is unknown.
void shuffle_findings(Dataset& dataset, std::uint64_t seed) {
  std::map<std::string, std::vector<std::int8_t>> of_patient;
  for (const Sample& s : dataset.samples) {
    std::vector<std::int8_t>& all = of_patient.emplace(s.patient, s.labels).first->second;
    for (std::size_t f = 0; f < all.size(); ++f) all[f] = std::max(all[f], s.labels[f]);
  }
  deal_anew(of_patient, seed);
  for (Sample& s : dataset.samples) s.labels = of_patient.at(s.patient);
}

void shuffle_labels(Dataset& dataset, std::uint64_t seed) {
  if (dataset.multilabel) return shuffle_findings(dataset, seed);
  std::map<std::string, int> of_patient;
  for (const Sample& s : dataset.samples) of_patient.emplace(s.patient, s.label);
  deal_anew(of_patient, seed);
  for (Sample& s : dataset.samples) {
    s.label = of_patient.at(s.patient);
    s.class_name = dataset.classes[static_cast<std::size_t>(s.label)];
  }
}

// Where the folder `other` holds another experiment than this one; empty when nowhere.
std::string differences(const Experiment& e, const fs::path& other) {
  int own_format = 0, format = 0;
  nlohmann::json own = load_run_config(e.run.folder / "config.json", &own_format);
  nlohmann::json config = load_run_config(other, &format);
  // Versions before format 2 recorded names and sizes of the images, not what they hold.
  own["data_checksum"] = format == 1 ? e.run.names_checksum : e.run.data_checksum;
  if (own_format != format)
    for (nlohmann::json* side : {&own, &config}) side->erase("weights_checksum");
  return config_differences(without_places(own), without_places(config));
}

}  // namespace

fs::path Experiment::folder(const ExperimentRow& row) const {
  return row.name.empty() ? run.folder : run.folder / "rows" / row.name;
}

fs::path Experiment::fold_folder(const ExperimentRow& row, std::size_t fold) const {
  return folder(row) / fmt::format("fold_{}", fold);
}

Experiment open_experiment(const TrainSettings& shared, std::vector<ExperimentRow> rows,
                           const RunRequest& request, const Compute& compute) {
  RunRequest full = request;
  THORAX_CHECK(!rows.empty(), "[experiment] no rows");
  std::set<std::string> names;
  full.mode = LockMode::shared;
  for (const ExperimentRow& row : rows) {
    if (row.name.empty()) continue;  // its settings are the shared ones
    const FileName name(row.name, "the name of a row");
    full.networks.push_back(row.settings);
    THORAX_CHECK(names.insert(row.name).second, "[experiment] two rows are called '{}'", row.name);
    full.extra["rows"].push_back({{"name", row.name},
                                  {"random_labels", row.random_labels},
                                  {"settings", row.settings.to_json()}});
  }
  Experiment e;
  e.run = open_run(shared, full, compute);
  e.rows = std::move(rows);
  const auto folds = static_cast<int>(shared.folds);
  const auto seed = static_cast<std::uint64_t>(shared.seed);
  const auto wanted = [&](const char* group) {
    return std::any_of(e.rows.begin(), e.rows.end(),
                       [&](const auto& row) { return row.settings.group == group; });
  };
  if (wanted("patient"))
    e.by_patient = run_splits(e.run, "splits.json", [&](const std::vector<SplitItem>& items) {
      return k_fold(items, folds, seed, Grouping::group);
    });
  if (wanted("image"))
    e.by_image =
        run_splits(e.run, "splits_by_image.json", [&](const std::vector<SplitItem>& items) {
          return k_fold(items, folds, seed, Grouping::image);
        });
  return e;
}

std::string describe_folds(const Experiment& e, const Splits& splits) {
  const bool findings = e.run.dataset.multilabel && e.rows[0].settings.task == Task::classifier;
  return describe_splits(splits, e.run.items) +
         (findings ? lacking_labels(splits, e.run.items, e.run.dataset.classes) : "");
}

std::vector<FoldChoice> parse_fold_choices(const std::vector<std::string>& texts,
                                           const std::vector<ExperimentRow>& rows, int folds) {
  std::vector<FoldChoice> choices;
  for (const std::string& text : texts) {
    const std::size_t slash = text.find('/');
    FoldChoice choice{text.substr(0, slash), -1};
    std::string names;
    bool known = false;
    for (const ExperimentRow& row : rows) {
      names += (names.empty() ? "" : ", ") + row.name;
      known = known || row.name == choice.row;
    }
    THORAX_CHECK(known, "[experiment] --only {}: there is no such row; rows: {}", text, names);
    if (slash != std::string::npos) {
      const char* end = text.data() + text.size();
      const auto [rest, error] = std::from_chars(text.data() + slash + 1, end, choice.fold);
      THORAX_CHECK(error == std::errc() && rest == end && choice.fold >= 0 && choice.fold < folds,
                   "[experiment] --only {}: the fold must be 0 to {}", text, folds - 1);
    }
    choices.push_back(choice);
  }
  return choices;
}

Dataset row_dataset(const Experiment& experiment, const ExperimentRow& row) {
  Dataset dataset = experiment.run.dataset;
  if (row.random_labels) shuffle_labels(dataset, static_cast<std::uint64_t>(row.settings.seed));
  return dataset;
}

namespace {

// Copies finished folds of other folders of the same experiment, made on other machines: same rows,
// settings (but for where files lie), images and splits; anything else is an Error naming what
// differs. A fold that is finished here stays. Returns how many were copied.
int take_folds(const Experiment& e, const std::vector<std::string>& others) {
  int copied = 0;
  for (const fs::path other : others) {
    const fs::path config = other / "config.json";
    const std::string different = differences(e, config);
    THORAX_CHECK(different.empty(), "[merge] {}: is another experiment: {}", config.string(),
                 different);
    for (const char* name : {"splits.json", "splits_by_image.json"})
      if (fs::exists(e.run.folder / name)) load_splits(other / name, e.run.items);
    for (const ExperimentRow& row : e.rows)
      for (std::size_t k = 0; k < e.splits(row).folds.size(); ++k) {
        const fs::path to = e.fold_folder(row, k);
        const fs::path from = other / fs::relative(to, e.run.folder);
        if (fold_finished(to) || !fold_finished(from)) continue;
        load_fold(from, row.settings.task);  // refuse a broken one before anything is copied
        e.run.home->begin();
        create_folders(to);
        const std::optional<FileLock> lock = FileLock::try_lock(to / "lock");
        THORAX_CHECK(lock.has_value(), "[merge] {}: another process is at work there", to.string());
        for (const auto& entry : fs::directory_iterator(from)) {
          const std::string name = entry.path().filename();
          if (entry.is_regular_file() && name != "result.json" && name != "lock" &&
              name.find(".tmp-") == std::string::npos)
            atomic_copy(entry.path(), to / name);
        }
        // Last, and whole or not at all: it is what makes the fold count as finished.
        save_json(to / "result.json", load_json(from / "result.json"));
        ++copied;
      }
  }
  return copied;
}

// Returns false when it was stopped by a signal.
bool train_folds(const Experiment& e, const std::vector<FoldChoice>& choices, bool keep_checkpoints,
                 const Compute& compute) {
  for (const ExperimentRow& row : e.rows) {
    const Splits& splits = e.splits(row);
    for (std::size_t k = 0; k < splits.folds.size(); ++k) {
      const bool chosen =
          choices.empty() || std::any_of(choices.begin(), choices.end(), [&](const auto& c) {
            return c.row == row.name && (c.fold < 0 || c.fold == static_cast<int>(k));
          });
      const fs::path folder = e.fold_folder(row, k);
      if (fold_finished(folder)) tidy_finished_fold(folder);
      if (!chosen || fold_finished(folder)) continue;
      create_folders(folder);
      const std::optional<FileLock> lock = FileLock::try_lock(folder / "lock");
      if (!lock) {
        fmt::print("{}fold {}: another process is at it\n", row.name.empty() ? "" : row.name + " ",
                   k);
        continue;
      }
      // A fold that nobody has begun has nothing to go on from.
      const fs::path last = folder / "last.safetensors";
      const bool begun = fs::exists(folder / "metrics.jsonl") || fs::exists(last) ||
                         fs::exists(previous_checkpoint(last)) || fold_finished(folder);
      const Dataset dataset = row_dataset(e, row);
      const FoldResult result =
          train_fold(row.settings, dataset.classes, select(dataset, splits.folds[k].train),
                     select(dataset, splits.folds[k].validation), folder,
                     {.title = fmt::format("{} {}/{}", row.name.empty() ? "fold" : row.name, k + 1,
                                           splits.folds.size()),
                      .resume = begun,
                      .weights_only = !keep_checkpoints,
                      .begun = [&e] { e.run.home->begin(); },
                      .left_out = left_out_counts(dataset)},
                     compute);
      e.run.home->begin();
      if (!result.finished) return false;
      e.run.history->note("fold_seconds", fs::relative(folder, e.run.folder).string(),
                          result.seconds);
    }
  }
  return true;
}

// "hrnet_w18-lungs: folds 1, 2 left", a line per row that is not finished.
std::string unfinished(const Experiment& e) {
  std::string text;
  for (const ExperimentRow& row : e.rows) {
    std::vector<std::size_t> left;
    for (std::size_t k = 0; k < e.splits(row).folds.size(); ++k)
      if (!fold_finished(e.fold_folder(row, k))) left.push_back(k);
    if (!left.empty())
      text += fmt::format("{}{}folds {} left", text.empty() ? "" : "\n",
                          row.name.empty() ? "" : row.name + ": ", fmt::join(left, ", "));
  }
  return text;
}

}  // namespace

bool complete_experiment(const Experiment& experiment, const std::vector<std::string>& merge,
                         const std::vector<FoldChoice>& choices, bool keep_checkpoints,
                         const Compute& compute) {
  if (!merge.empty()) fmt::print("{} folds taken over\n", take_folds(experiment, merge));
  if (!train_folds(experiment, choices, keep_checkpoints, compute)) {
    fmt::print("stopped; continue with --resume\n");
    set_exit_code(3);
    return false;
  }
  experiment.run.home->begin();
  const std::string left = unfinished(experiment);
  if (!left.empty())
    fmt::print(
        "{}\nfor the report all are needed: --resume goes on, --merge takes finished folds from "
        "other folders\n",
        left);
  return left.empty();
}

std::vector<FoldResult> load_results(const Experiment& e, const ExperimentRow& row) {
  std::vector<FoldResult> results;
  for (std::size_t k = 0; k < e.splits(row).folds.size(); ++k) {
    const fs::path folder = e.fold_folder(row, k);
    FoldResult result = load_fold(folder, row.settings.task);
    std::set<std::string> held_out;
    for (const std::string& id : e.splits(row).folds[k].validation) held_out.insert(id);
    for (const Scored& scored : result.scored)
      THORAX_CHECK(held_out.erase(scored.image) == 1,
                   "[experiment] {}: '{}' is not held out in fold {}, or twice there",
                   (folder / "predictions.csv").string(), scored.image, k);
    THORAX_CHECK(held_out.empty() || row.settings.on_error == "skip",
                 "[experiment] {}: '{}' is held out in fold {} and has no row",
                 (folder / "predictions.csv").string(), *held_out.begin(), k);
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace thorax::app
