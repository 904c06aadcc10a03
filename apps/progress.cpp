#include "apps/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "apps/console.h"
#include "apps/report/text.h"

namespace thorax::app {

std::string format_duration(double seconds) {
  if (!(seconds >= 0)) return "--:--";
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  if (whole >= 3600)
    return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

Progress::Progress(std::string title, std::int64_t total, std::string unit,
                   std::int64_t done_before)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_(total),
      done_(done_before),
      start_done_(done_before),
      start_(Clock::now()),
      shown_(start_ - std::chrono::hours(1)),
      terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  finish();
}

void Progress::advance(std::int64_t items, const std::string& note) {
  done_ += items;
  // A log gets a line every half minute: enough to see that it lives, little enough to read.
  const auto interval =
      terminal_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(30000);
  if (Clock::now() - shown_ < interval && done_ < total_) return;
  show(note);
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (terminal_ && shown_ >= start_) std::fputc('\n', stderr);
}

void Progress::show(const std::string& note) {
  if (log_level() == LogLevel::quiet) return;
  shown_ = Clock::now();
  const double elapsed = std::chrono::duration<double>(shown_ - start_).count();
  const double rate = elapsed > 0 ? static_cast<double>(done_ - start_done_) / elapsed : 0;
  const double left = rate > 0 ? static_cast<double>(total_ - done_) / rate : -1;
  std::string line = fmt::format("{} {}/{} {}  {:.3g} {}/s  left {}", title_, done_, total_, unit_,
                                 rate, unit_, format_duration(left));
  if (!note.empty()) line += "  " + note;
  if (!terminal_) {
    fmt::print(stderr, "{}\n", line);
    return;
  }
  constexpr int kWidth = 20;
  const int filled = total_ > 0 ? static_cast<int>(done_ * kWidth / total_) : kWidth;
  // Past the filter of stderr (console.h), which would show the escape sequence instead.
  const std::string bar =
      fmt::format("\r\033[K[{:=<{}}{:<{}}] {}", "", filled, "", kWidth - filled, visible(line));
  static_cast<void>(!::write(STDERR_FILENO, bar.data(), bar.size()));
}

}  // namespace thorax::app
