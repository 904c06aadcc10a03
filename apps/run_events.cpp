#include "apps/run_events.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <iterator>

#include "apps/fold_files.h"
#include "apps/report/event_file.h"
#include "apps/run_pictures.h"
#include "engine/io/atomic_file.h"
#include "engine/io/json_text.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFileName = "events.out.tfevents.0.thorax";
constexpr std::uint64_t kMostPictureBytes = std::uint64_t{1} << 26;

// "2026-11-28T16:32:37Z" as seconds since 1970; 0 for anything else.
double seconds_of(const std::string& time) {
  std::tm parts{};
  const char* end = ::strptime(time.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return end != nullptr && *end == '\0' ? static_cast<double>(::timegm(&parts)) : 0;
}

std::string tag_of(const std::string& metric) {
  if (metric == "train_loss") return "train/loss";
  if (metric == "lr") return "train/learning rate";
  return "validation/" + metric;
}

// Epoch by epoch, so that a run that goes on only adds to the end.
void add_epochs(EventLog& events, const TrainingLog& log) {
  for (std::size_t i = 0; i < log.epochs.size(); ++i)
    for (const auto& [metric, values] : log.metrics)
      if (metric != "step" && !std::isnan(values[i]))
        events.scalar(tag_of(metric), static_cast<std::int64_t>(log.epochs[i]), values[i]);
}

void add_curves(EventLog& events, const RunPart& part, std::vector<std::string>& notes) {
  FoldResult fold;
  try {
    fold = load_fold(part.folder, Task::classifier);
  } catch (const Error& error) {
    notes.push_back(error.what());
    return;
  }
  const auto step = static_cast<std::int64_t>(part.log.epochs.size());
  if (fold.classes.size() == 2 && !fold.multilabel) {
    std::vector<int> labels;
    std::vector<double> scores;
    for (const Scored& s : fold.scored) {
      labels.push_back(s.label);
      scores.push_back(s.score);
    }
    events.precision_recall(fold.classes.back(), step, labels, scores);
    return;
  }
  for (std::size_t c = 0; c < fold.classes.size(); ++c) {
    std::vector<int> labels;
    std::vector<double> scores;
    for (const Scored& s : fold.scored) {
      if (fold.multilabel && s.labels[c] < 0) continue;  // not known
      labels.push_back(fold.multilabel ? s.labels[c] : s.label == static_cast<int>(c));
      scores.push_back(s.probabilities[c]);
    }
    events.precision_recall(fold.classes[c], step, labels, scores);
  }
}

void add_pictures(EventLog& events, const RunEntry& run, const EventOptions& options,
                  std::vector<std::string>& notes) {
  for (const auto& [folder, pictures] : run_pictures(run)) {
    const auto shown =
        std::min<std::size_t>(pictures.size(), static_cast<std::size_t>(options.images));
    for (std::size_t i = 0; i < shown; ++i) {
      const std::string stem = pictures[i].stem().string();
      try {
        events.image(folder == "." ? stem : folder + "/" + stem, 0,
                     read_file(pictures[i], kMostPictureBytes), pictures[i].string());
      } catch (const Error& error) {
        notes.push_back(error.what());
      }
    }
    if (shown < pictures.size())
      notes.push_back(fmt::format("{}: the first {} of {} pictures (--images)",
                                  (run.folder / folder).lexically_normal().string(), shown,
                                  pictures.size()));
  }
}

}  // namespace

EventCounts write_events(const std::vector<RunEntry>& runs, const EventOptions& options) {
  EventCounts counts;
  const auto write = [&](const fs::path& folder, const EventLog& events) {
    create_folders(folder);
    ++counts.files;
    counts.written += update_event_file(folder / kFileName, events.bytes());
  };
  for (const RunEntry& run : runs) {
    const double time = seconds_of(run.started);
    const fs::path out = options.out / run.name;
    EventLog whole(time);
    // An indented block is code in Markdown.
    std::string text = dump_json(run.config, 2);
    for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 5)
      text.insert(at + 1, "    ");
    whole.text("configuration", 0, "    " + text);
    for (const RunPart& part : run.parts) {
      const bool own = !part.name.empty();
      EventLog fold(time);
      EventLog& events = own ? fold : whole;
      add_epochs(events, part.log);
      if (part.finished && run.command.find("segmenter") == std::string::npos)
        add_curves(events, part, counts.notes);
      if (own) write(out / part.name, events);
    }
    if (run.finished) add_pictures(whole, run, options, counts.notes);
    write(out, whole);
  }
  return counts;
}

}  // namespace thorax::app
