// Standard output and standard error of the command.
#pragma once

#include <string>
#include <vector>

namespace thorax::app {

// From here on, whatever the program prints through stdout and stderr passes a filter: control
// characters but line breaks and tabs (a file or class name may hold a terminal's escape sequences)
// appear as \u001b, malformed UTF-8 as \xff. Both are also what JSON wants of such characters
// inside a text. A failing write is noted instead of ending the program; when nobody reads standard
// output any more, a training run is asked to end at its next checkpoint.
void guard_output();

// What the program says besides its results. Files and exit codes are the same at every level, and
// so is standard output but for the line of each epoch.
//   quiet    errors only: no notes, warnings, progress or epochs
//   normal   notes, warnings and progress on stderr
//   verbose  also, on stderr: device, threads and version at the start; every training step's loss,
//            learning rate and gradient norm in place of the progress; kernels, peak memory and
//            time at the end
enum class LogLevel { quiet, normal, verbose };
LogLevel log_level();
// After guard_output().
void set_log_level(LogLevel level);
// "note: ..." on stderr, a line each.
void print_notes(const std::vector<std::string>& notes);
// To stderr, at every level.
void print_error(const std::string& text);

// Writes what is still held back. Empty, or why something printed to standard output is lost.
std::string flush_output();

}  // namespace thorax::app
