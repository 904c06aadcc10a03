#include "apps/console.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <mutex>
#include <system_error>

#include "apps/report/text.h"
#include "engine/train/stop_signal.h"

namespace thorax::app {
namespace {

class Filter {
 public:
  explicit Filter(int descriptor) : descriptor_(descriptor) {}

  void write(std::string_view text) {
    const std::lock_guard lock(mutex_);
    if (muted_) return;
    held_ += text;
    // A sequence of several bytes that is not complete yet waits for its end.
    const std::size_t rest = incomplete_end(held_);
    const std::string whole = held_.substr(0, held_.size() - rest);
    held_.erase(0, whole.size());
    send(visible_lines(whole));
  }
  void finish() {
    const std::lock_guard lock(mutex_);
    send(visible_lines(held_));
    held_.clear();
  }
  void mute(bool on) {
    const std::lock_guard lock(mutex_);
    muted_ = on;
  }
  int error() const { return error_; }

 private:
  // Bytes at the end that may become a valid sequence.
  static std::size_t incomplete_end(std::string_view text) {
    for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
      const auto byte = static_cast<unsigned char>(text[text.size() - back]);
      if ((byte & 0xC0) == 0x80) continue;
      const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
      return length > back ? back : 0;
    }
    return 0;
  }

  void send(std::string_view text) {
    if (error_ == EPIPE) request_stop();  // again: a run may have begun since
    if (error_ != 0) return;
    while (!text.empty()) {
      const ssize_t done = ::write(descriptor_, text.data(), text.size());
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) {
        error_ = done < 0 ? errno : ENOSPC;
        if (error_ == EPIPE) request_stop();
        return;
      }
      text.remove_prefix(static_cast<std::size_t>(done));
    }
  }

  const int descriptor_;
  std::mutex mutex_;
  std::string held_;
  int error_ = 0;
  bool muted_ = false;
};

LogLevel level = LogLevel::normal;

// Never destroyed: streams are closed after every static object is gone.
Filter& output() {
  static Filter& filter = *new Filter(STDOUT_FILENO);
  return filter;
}
Filter& errors() {
  static Filter& filter = *new Filter(STDERR_FILENO);
  return filter;
}

std::FILE* filtered(Filter& filter, int mode) {
  cookie_io_functions_t functions{};
  functions.write = [](void* cookie, const char* text, std::size_t size) -> ssize_t {
    static_cast<Filter*>(cookie)->write({text, size});
    return static_cast<ssize_t>(size);  // an error is noted, and told at the end
  };
  std::FILE* stream = fopencookie(&filter, "w", functions);
  if (stream != nullptr) std::setvbuf(stream, nullptr, mode, 1 << 14);
  return stream;
}

}  // namespace

void guard_output() {
  std::fflush(stdout);
  if (std::FILE* stream = filtered(output(), isatty(STDOUT_FILENO) == 1 ? _IOLBF : _IOFBF))
    stdout = stream;
  if (std::FILE* stream = filtered(errors(), _IONBF)) stderr = stream;
}

LogLevel log_level() {
  return level;
}

void set_log_level(LogLevel wanted) {
  level = wanted;
  errors().mute(wanted == LogLevel::quiet);
}

void print_notes(const std::vector<std::string>& notes) {
  for (const std::string& note : notes) fmt::print(stderr, "note: {}\n", note);
}

void print_error(const std::string& text) {
  errors().mute(false);
  std::fputs(text.c_str(), stderr);
  errors().mute(level == LogLevel::quiet);
}

std::string flush_output() {
  std::fflush(stdout);
  output().finish();
  errors().finish();
  const int error = output().error();
  return error == 0 ? "" : std::system_category().message(error);
}

}  // namespace thorax::app
