#include "apps/run_index.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>

#include "data/csv.h"
#include "engine/io/config.h"
#include "engine/io/json_text.h"
#include "engine/train/metrics.h"
#include "engine/train/run_folder.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

// Files that somebody on this machine has locked, by inode. Reading the list takes no lock, so no
// run that begins meanwhile finds its folder taken.
std::set<std::uint64_t> locked_files() {
  std::set<std::uint64_t> inodes;
  std::ifstream locks("/proc/locks");
  // "1: FLOCK  ADVISORY  WRITE 4242 fd:01:131 0 EOF"
  for (std::string line; std::getline(locks, line);) {
    if (line.find("FLOCK") == std::string::npos) continue;
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      const std::size_t last = word.rfind(':');
      if (std::count(word.begin(), word.end(), ':') != 2) continue;
      inodes.insert(std::strtoull(word.c_str() + last + 1, nullptr, 10));
      break;
    }
  }
  return inodes;
}

bool is_locked(const fs::path& lock, const std::set<std::uint64_t>& locked) {
  struct stat status {};
  return ::stat(lock.c_str(), &status) == 0 && locked.contains(status.st_ino);
}

// Folders "fold_0", "fold_1", ... of `folder`, in the order of their numbers.
std::vector<fs::path> folds_of(const fs::path& folder) {
  std::map<long, fs::path> folds;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool fold = name.size() > 5 && name.size() < 12 && name.starts_with("fold_") &&
                      name.find_first_not_of("0123456789", 5) == std::string::npos;
    if (fold && entry.is_directory() && !entry.is_symlink())
      folds[std::stol(name.substr(5))] = entry.path();
  }
  std::vector<fs::path> paths;
  for (const auto& [number, path] : folds) paths.push_back(path);
  return paths;
}

// What an object has under a name, where it is a text; the files are read whoever wrote them.
std::string text_of(const nlohmann::json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

RunPart read_part(const fs::path& folder, const std::string& name) {
  RunPart part;
  part.name = name;
  part.folder = folder;
  part.finished = fs::exists(folder / "result.json");
  if (fs::exists(folder / "metrics.jsonl")) part.log = read_training_log(folder / "metrics.jsonl");
  return part;
}

RunEntry read_run(const fs::path& folder, const std::string& name,
                  const std::set<std::uint64_t>& locked) {
  RunEntry run;
  run.name = name;
  run.folder = folder;
  run.config = load_run_config(folder / "config.json");
  run.command = text_of(run.config, "command");
  run.at_work = is_locked(folder / "lock", locked);
  if (fs::exists(folder / "provenance.json")) {
    const nlohmann::json starts = load_json(folder / "provenance.json");
    if (starts.is_array() && !starts.empty()) run.started = text_of(starts.front(), "time");
  }
  const bool train = run.command.starts_with("train");
  if (train) {
    run.parts.push_back(read_part(folder, ""));
  } else {
    for (const fs::path& fold : folds_of(folder))
      run.parts.push_back(read_part(fold, fold.filename().string()));
    std::vector<fs::path> rows;
    if (fs::is_directory(folder / "rows"))
      for (const auto& row : fs::directory_iterator(folder / "rows"))
        if (row.is_directory()) rows.push_back(row.path());
    std::sort(rows.begin(), rows.end());
    for (const fs::path& row : rows)
      for (const fs::path& fold : folds_of(row))
        run.parts.push_back(read_part(fold, (row.filename() / fold.filename()).string()));
  }
  for (const RunPart& part : run.parts)
    if (!train && is_locked(part.folder / "lock", locked)) run.at_work = true;
  // The report is what kfold, compare and audit write last.
  run.finished = train ? run.parts.front().finished : fs::exists(folder / "report.html");
  return run;
}

void look(const fs::path& folder, const fs::path& root, const std::set<std::uint64_t>& locked,
          RunIndex& index) {
  if (fs::exists(folder / "config.json")) {
    const std::string name = folder == root ? fs::canonical(root).filename().string()
                                            : fs::relative(folder, root).string();
    try {
      index.runs.push_back(read_run(folder, name, locked));
      return;
    } catch (const Error& error) {
      index.unreadable.push_back(fmt::format("{}: {}", folder.string(), error.what()));
    }
  }
  std::vector<fs::path> below;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.is_directory() && !entry.is_symlink() &&
        !entry.path().filename().string().starts_with("."))
      below.push_back(entry.path());
  if (error) {
    index.unreadable.push_back(fmt::format("{}: {}", folder.string(), error.message()));
    return;
  }
  std::sort(below.begin(), below.end());
  for (const fs::path& path : below) look(path, root, locked, index);
}

double last_of(const TrainingLog& log, const std::string& metric) {
  const auto found = log.metrics.find(metric);
  return found == log.metrics.end() || found->second.empty()
             ? std::numeric_limits<double>::quiet_NaN()
             : found->second.back();
}

std::map<std::string, double> means(const std::vector<const RunPart*>& parts) {
  std::map<std::string, std::vector<double>> values;
  for (const RunPart* part : parts)
    for (const auto& [metric, all] : part->log.metrics)
      values[metric].push_back(last_of(part->log, metric));
  std::map<std::string, double> result;
  for (const auto& [metric, numbers] : values)
    if (const MeanDeviation s = spread(numbers); s.count > 0) result[metric] = s.mean;
  return result;
}

Cell of(const std::map<std::string, double>& metrics, const std::string& name) {
  const auto found = metrics.find(name);
  return found == metrics.end() ? Cell() : number_cell(found->second);
}

}  // namespace

std::string RunEntry::state() const {
  return at_work ? "at work" : finished ? "finished" : "stopped";
}

std::int64_t RunEntry::epochs() const {
  std::int64_t all = 0;
  for (const RunPart& part : parts) all += static_cast<std::int64_t>(part.log.epochs.size());
  return all;
}

RunIndex find_runs(const fs::path& root) {
  THORAX_CHECK(fs::is_directory(root), "[runs] {}: is no folder", root.string());
  RunIndex index;
  look(root, root, locked_files(), index);
  return index;
}

std::map<std::string, double> last_metrics(const RunEntry& run) {
  std::vector<const RunPart*> parts;
  for (const RunPart& part : run.parts) {
    if (part.name.find('/') != std::string::npos) return {};  // of several networks
    parts.push_back(&part);
  }
  return means(parts);
}

Table run_table(const std::vector<RunEntry>& runs, bool parts) {
  Table table;
  table.columns = {{"run"}, {"command"}, {"network"}, {"size", CellKind::integer}, {"state"}};
  if (!parts) table.columns.push_back({"finished folds"});
  for (const TableColumn& column : std::vector<TableColumn>{{"epochs", CellKind::integer},
                                                            {"train loss", CellKind::number, 4},
                                                            {"loss", CellKind::number, 4},
                                                            {"AUC", CellKind::number, 4},
                                                            {"Dice", CellKind::number, 4},
                                                            {"started"}})
    table.columns.push_back(column);
  const auto add = [&](const RunEntry& run, const std::string& name, const std::string& state,
                       const Cell& finished, std::int64_t epochs,
                       const std::map<std::string, double>& metrics) {
    const auto found = run.config.find("settings");
    const nlohmann::json settings =
        found != run.config.end() && found->is_object() ? *found : nlohmann::json::object();
    const std::string model =
        settings.contains("model") ? text_of(settings["model"], "model") : std::string();
    const bool several = run.command == "compare";  // whose networks are the rows
    std::vector<Cell> row{name, run.command, several ? Cell() : Cell(model.empty() ? "-" : model),
                          settings.contains("size") && settings["size"].is_number_integer()
                              ? Cell(settings["size"].get<std::int64_t>())
                              : Cell(),
                          state};
    if (!parts) row.push_back(finished);
    row.insert(row.end(), {epochs, of(metrics, "train_loss"), of(metrics, "loss"),
                           of(metrics, "auc"), of(metrics, "dice"), run.started});
    table.rows.push_back(std::move(row));
  };
  for (const RunEntry& run : runs) {
    if (parts) {
      for (const RunPart& part : run.parts)
        add(run, part.name.empty() ? run.name : run.name + "/" + part.name,
            part.finished ? "finished"
            : run.at_work ? "at work"
                          : "stopped",
            {}, static_cast<std::int64_t>(part.log.epochs.size()), means({&part}));
      continue;
    }
    const auto done = std::count_if(run.parts.begin(), run.parts.end(),
                                    [](const RunPart& p) { return p.finished; });
    add(run, run.name, run.state(),
        run.command.starts_with("train") ? Cell()
                                         : Cell(fmt::format("{} of {}", done, run.parts.size())),
        run.epochs(), last_metrics(run));
  }
  table.notes = {
      "Validation of the last epoch; of folds the mean. A run that works on another machine reads "
      "'stopped'."};
  return table;
}

std::string metrics_csv(const std::vector<RunEntry>& runs) {
  std::string csv = "run,part,epoch,metric,value\n";
  for (const RunEntry& run : runs)
    for (const RunPart& part : run.parts)
      for (std::size_t i = 0; i < part.log.epochs.size(); ++i)
        for (const auto& [metric, values] : part.log.metrics) {
          const double value = values[i];
          csv += fmt::format("{},{},{},{},{}\n", csv_field(run.name), csv_field(part.name),
                             part.log.epochs[i], csv_field(metric),
                             std::isnan(value) ? "" : fmt::format("{:.17g}", value));
        }
  return csv;
}

}  // namespace thorax::app
