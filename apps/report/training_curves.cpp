#include "apps/report/training_curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/report/text.h"
#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/tensor/error.h"
#include "engine/train/metrics.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

constexpr double kMostEpochs = 1e15;  // numbers up to there are exact
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::string spelled(const std::string& metric) {
  static const std::map<std::string, std::string> kNames = {
      {"dice", "Dice"}, {"iou", "IoU"}, {"auc", "AUC"}, {"f1", "F1"}};
  const auto found = kNames.find(metric);
  return found == kNames.end() ? metric : found->second;
}

// A metric's values over all epochs of all runs: mean, and one deviation to each side.
struct Summary {
  std::vector<double> mean, low, high;
};

Summary summarise(const std::vector<TrainingLog>& logs, const std::string& metric,
                  const std::vector<double>& epochs) {
  Summary summary;
  for (const double epoch : epochs) {
    std::vector<double> values;
    for (const TrainingLog& log : logs) {
      const auto found = log.metrics.find(metric);
      if (found == log.metrics.end()) continue;
      for (std::size_t i = 0; i < log.epochs.size(); ++i)
        if (log.epochs[i] == epoch) values.push_back(found->second[i]);
    }
    const MeanDeviation s = spread(values);
    summary.mean.push_back(s.count > 0 ? s.mean : kNone);
    const double deviation = s.count > 1 ? s.deviation : kNone;
    summary.low.push_back(s.mean - deviation);
    summary.high.push_back(s.mean + deviation);
  }
  return summary;
}

void add_curve(Plot& plot, const std::vector<TrainingLog>& logs, const std::string& metric,
               const std::string& name, const std::vector<double>& epochs, int look) {
  const Summary s = summarise(logs, metric, epochs);
  if (logs.size() > 1) {
    Series band{"", SeriesStyle::band, epochs, s.low, s.high, look};
    plot.series.push_back(std::move(band));
  }
  plot.series.push_back({name, SeriesStyle::line, epochs, s.mean, {}, look});
}

}  // namespace

TrainingLog read_training_log(const fs::path& file) {
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30;
  const std::string text = read_file(file, kMostBytes);
  TrainingLog log;
  log.name = fs::absolute(file).parent_path().filename().string();
  int line_number = 0;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t end = text.find('\n', from);
    if (end == std::string::npos) break;  // being written
    ++line_number;
    const std::string where = fmt::format("{}:{}", file.string(), line_number);
    nlohmann::json line;
    try {
      line = parse_json(std::string_view(text).substr(from, end - from), where);
    } catch (const Error& error) {
      fail("[curves] {}: is no line of JSON: {}", where, error.what());
    }
    from = end + 1;
    THORAX_CHECK(line.is_object(), "[curves] {}: is no JSON object", where);
    const auto kind = line.find("kind");
    if (kind == line.end() || *kind != "epoch") continue;
    const auto epoch = line.find("epoch");
    THORAX_CHECK(epoch != line.end() && epoch->is_number(), "[curves] {}: has no epoch", where);
    const double number = epoch->get<double>();
    THORAX_CHECK(number == std::floor(number) && number >= 0 && number <= kMostEpochs,
                 "[curves] {}: epoch {} is not a whole number from 0 to {}", where, number,
                 kMostEpochs);
    THORAX_CHECK(log.epochs.empty() || number > log.epochs.back(),
                 "[curves] {}: epoch {} follows epoch {}", where, number, log.epochs.back());
    log.epochs.push_back(number);
    for (const auto& [name, value] : line.items()) {
      if (name == "kind" || name == "epoch") continue;
      THORAX_CHECK(value.is_number() || value.is_null(), "[curves] {}: '{}' is no number", where,
                   clean_text(name));
      std::vector<double>& values = log.metrics[name];
      values.resize(log.epochs.size() - 1, kNone);
      values.push_back(value.is_null() ? kNone : value.get<double>());
    }
    for (auto& [name, values] : log.metrics) values.resize(log.epochs.size(), kNone);
  }
  return log;
}

std::vector<TrainingLog> read_training_logs(const fs::path& run) {
  THORAX_CHECK(fs::is_directory(run), "[curves] {}: is no folder", run.string());
  std::map<long, fs::path> files;  // by number: fold_10 follows fold_9
  for (const fs::directory_entry& entry : fs::directory_iterator(run)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("fold_") || name.size() == 5 ||
        name.find_first_not_of("0123456789", 5) != std::string::npos || name.size() > 12)
      continue;
    if (fs::exists(entry.path() / "metrics.jsonl"))
      files[std::stol(name.substr(5))] = entry.path() / "metrics.jsonl";
  }
  if (files.empty() && fs::exists(run / "metrics.jsonl")) files[0] = run / "metrics.jsonl";
  THORAX_CHECK(!files.empty(), "[curves] {}: holds no metrics.jsonl", run.string());
  std::vector<TrainingLog> logs;
  for (const auto& [number, file] : files) logs.push_back(read_training_log(file));
  return logs;
}

std::vector<Plot> training_plots(const std::vector<TrainingLog>& logs, const std::string& title) {
  std::set<double> distinct;
  std::set<std::string> metrics;
  for (const TrainingLog& log : logs) {
    distinct.insert(log.epochs.begin(), log.epochs.end());
    for (const auto& [name, values] : log.metrics) metrics.insert(name);
  }
  THORAX_CHECK(!distinct.empty(), "[curves] no epoch has ended yet in {} logs", logs.size());
  const std::vector<double> epochs(distinct.begin(), distinct.end());
  const std::string before = title.empty() ? "" : title + ": ";
  const std::string caption =
      logs.size() > 1
          ? fmt::format("Mean of {} runs; the bands reach one standard deviation to each side.",
                        logs.size())
          : std::string();
  const Axis x{"epoch", {}, {}, false, true};

  std::vector<Plot> plots;
  Plot loss{before + "loss", x, {"mean loss"}};
  loss.caption = caption;
  if (metrics.count("train_loss")) add_curve(loss, logs, "train_loss", "training", epochs, 0);
  if (metrics.count("loss")) add_curve(loss, logs, "loss", "validation", epochs, 1);
  if (!loss.series.empty()) plots.push_back(std::move(loss));

  // Pixels and shares have no common axis.
  Plot distance{before + "validation distance", x, {"Hausdorff 95 % (pixels)"}};
  distance.caption = caption;
  if (metrics.erase("hausdorff95") > 0)
    add_curve(distance, logs, "hausdorff95", "Hausdorff 95 %", epochs, 1);

  Plot others{before + "validation metrics", x, {"metric"}};
  others.caption = caption;
  int look = 0;
  for (const char* other : {"loss", "train_loss", "lr", "step", "seconds", "missed"})
    metrics.erase(other);
  for (const std::string& name : metrics) {
    const bool training = name.starts_with("train_");
    add_curve(others, logs, name, training ? spelled(name.substr(6)) + ", training" : spelled(name),
              epochs, look++);
  }
  if (!others.series.empty()) plots.push_back(std::move(others));
  if (!distance.series.empty()) plots.push_back(std::move(distance));
  return plots;
}

}  // namespace thorax::app
