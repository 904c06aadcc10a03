#include "tests/reliability/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace thorax::reliability {

ProcessOutcome run_process(const ProcessRequest& request) {
  using Clock = std::chrono::steady_clock;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  std::vector<std::string> variables;
  for (char** v = environ; *v != nullptr; ++v) {
    const std::string text = *v;
    const bool replaced =
        std::any_of(request.environment.begin(), request.environment.end(),
                    [&](const auto& entry) { return text.starts_with(entry.first + "="); });
    if (!replaced) variables.push_back(text);
  }
  for (const auto& [name, value] : request.environment) variables.push_back(name + "=" + value);
  std::vector<char*> environment, arguments;
  for (std::string& v : variables) environment.push_back(v.data());
  environment.push_back(nullptr);
  std::vector<std::string> texts = request.arguments;
  for (std::string& a : texts) arguments.push_back(a.data());
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addchdir_np(&actions, request.folder.c_str());
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  const Clock::time_point start = Clock::now();
  pid_t process = 0;
  const int error = ::posix_spawn(&process, arguments[0], &actions, nullptr, arguments.data(),
                                  environment.data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    throw std::runtime_error(
        fmt::format("{} cannot be started: {}", request.arguments[0], std::strerror(error)));
  }
  ProcessOutcome outcome;
  std::size_t next = 0;
  for (;;) {
    const auto elapsed =
        std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start);
    if (next < request.signals.size() && elapsed >= request.signals[next].after) {
      // Not reaped yet, so the number is still its own.
      if (::kill(process, request.signals[next].number) == 0) ++outcome.signals_sent;
      ++next;
      continue;
    }
    if (!outcome.hung && elapsed >= request.limit) {
      outcome.hung = true;
      ::kill(process, SIGKILL);
    }
    auto wait = std::chrono::milliseconds(1000);
    if (next < request.signals.size()) wait = std::min(wait, request.signals[next].after - elapsed);
    pollfd waiting{ends[0], POLLIN, 0};
    if (::poll(&waiting, 1, static_cast<int>(std::max<long>(wait.count(), 1))) <= 0) continue;
    char buffer[8192];
    const ssize_t got = ::read(ends[0], buffer, sizeof buffer);
    if (got == 0) break;
    if (got > 0) outcome.output.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status))
    outcome.exit_code = WEXITSTATUS(status);
  else
    outcome.signal = WTERMSIG(status);
  outcome.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return outcome;
}

}  // namespace thorax::reliability
