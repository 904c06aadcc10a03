// Standard output and standard error of the command.
#pragma once

#include <string>

namespace thorax::app {

// From here on, whatever the program prints through stdout and stderr passes a filter: control
// characters but line breaks and tabs (a file or class name may hold a terminal's escape sequences)
// appear as \u001b, malformed UTF-8 as \xff. Both are also what JSON wants of such characters
// inside a text. A failing write is noted instead of ending the program; when nobody reads standard
// output any more, a training run is asked to end at its next checkpoint.
void guard_output();

// Writes what is still held back. Empty, or why something printed to standard output is lost.
std::string flush_output();

}  // namespace thorax::app
