// `thorax data duplicates`, a subcommand of `thorax data`.
#pragma once

#include "apps/command.h"

namespace thorax::app {

// `kinds`: what the help says of --data.
void add_duplicates(CLI::App& data, const char* kinds);

}  // namespace thorax::app
