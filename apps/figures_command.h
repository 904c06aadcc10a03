// `thorax data figures`.
#pragma once

#include "apps/command.h"

namespace thorax::app {

// Adds the subcommand to `data`; `kinds` is the help text on --data.
void add_data_figures(CLI::App& data, const char* kinds);

}  // namespace thorax::app
