// Runs any program and collects what it says.
#pragma once

#include <doctest/doctest.h>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace thorax::test {

struct ProgramOutcome {
  int exit_code = -1;  // -1: could not be started, or ended by a signal
  std::string out;     // stdout; stderr goes to nowhere
};

inline ProgramOutcome run_program(std::vector<std::string> arguments) {
  int ends[2];
  if (pipe(ends) != 0) return {};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", 0, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", 1, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  const int error = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  ProgramOutcome outcome;
  char buffer[4096];
  for (ssize_t got; error == 0 && (got = read(ends[0], buffer, sizeof buffer)) > 0;)
    outcome.out.append(buffer, static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  if (error == 0 && waitpid(child, &status, 0) == child && WIFEXITED(status))
    outcome.exit_code = WEXITSTATUS(status);
  return outcome;
}

// Whether a program is on the PATH. Where CI=true it must be; else its absence is said loudly.
inline bool have_program(const char* name, const char* what_is_skipped) {
  std::string path = std::getenv("PATH") ? std::getenv("PATH") : "";
  for (std::size_t from = 0; from <= path.size();) {
    const std::size_t end = std::min(path.find(':', from), path.size());
    if (access((path.substr(from, end - from) + "/" + name).c_str(), X_OK) == 0) return true;
    from = end + 1;
  }
  const char* ci = std::getenv("CI");
  REQUIRE_MESSAGE((ci == nullptr || std::string(ci) != "true"),
                  name << " is not installed (third_party/install.sh --dev)");
  std::fprintf(stderr, "SKIPPED: no %s (third_party/install.sh --dev): %s\n", name,
               what_is_skipped);
  return false;
}

}  // namespace thorax::test
