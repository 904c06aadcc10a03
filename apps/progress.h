// Progress on a terminal (one line, rewritten) or in a log (a plain line now and then).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace thorax::app {

// "1:02:03", "4:05"; "--:--" for unknown (negative).
std::string format_duration(double seconds);

// Counts items of a known total and shows rate and time left. Writes to stderr, so that a program
// that reads stdout sees results only.
class Progress {
 public:
  // `unit` is what `advance` counts, e.g. "img". done_before: items finished by an earlier run.
  Progress(std::string title, std::int64_t total, std::string unit, std::int64_t done_before = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `note` follows the numbers, e.g. "loss 0.123".
  void advance(std::int64_t items, const std::string& note = {});
  // Ends the line; called by the destructor too.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  void show(const std::string& note);

  std::string title_, unit_;
  std::int64_t total_, done_, start_done_;
  Clock::time_point start_, shown_;
  bool terminal_, finished_ = false;
};

}  // namespace thorax::app
