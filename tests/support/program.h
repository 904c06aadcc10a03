// Runs the `thorax` command as a user does.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/places.h"
#include "tests/support/temp_folder.h"

namespace thorax::test {

// Paths as text, which is what a command line takes.
struct TemporaryFolder : TempFolder {
  std::string operator/(const std::string& name) const { return (path() / name).string(); }
};

inline std::string file_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Outcome {
  int exit_code = -1;  // -1: ended by a signal
  std::string output;  // stdout and stderr
};

// A process whose stdout and stderr go to the file `log`.
inline pid_t start_program(std::vector<std::string> arguments, const std::string& log) {
  const pid_t child = fork();
  if (child == 0) {
    const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(file, STDOUT_FILENO);
    dup2(file, STDERR_FILENO);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  return child;
}

// `signal_after` >= 0: sends `signal` after so many milliseconds, unless the program has ended.
inline Outcome run_thorax(std::vector<std::string> arguments, int signal_after = -1,
                          int signal = SIGKILL) {
  arguments.insert(arguments.begin(), thorax::test::thorax_program().string());
  const TemporaryFolder folder;
  const std::string log = folder / "log";
  const pid_t child = start_program(std::move(arguments), log);
  if (signal_after >= 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(signal_after));
    kill(child, signal);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, file_text(log)};
}

}  // namespace thorax::test
