// Runs as TensorBoard shows them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "apps/run_index.h"

namespace thorax::app {

struct EventOptions {
  std::filesystem::path out;
  std::int64_t images = 8;  // most of each folder of pictures
};

struct EventCounts {
  std::int64_t files = 0, written = 0;  // event files, and those that have changed
  std::vector<std::string> notes;       // what could not be shown, and why
};

// Writes OUT/RUN[/FOLD]/events.out.tfevents.0.thorax: every epoch's metrics (step = epoch), the
// configuration as text, pictures of the run's folder, and of finished folds of classifiers the
// precision-recall curves of their held-out images. Every event has the time of the run's first
// start, because metrics.jsonl keeps none. The same runs give the same bytes; a run that has gone
// on since only appends to its files.
EventCounts write_events(const std::vector<RunEntry>& runs, const EventOptions& options);

}  // namespace thorax::app
