// --intensity: which stored value of an image is white.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace thorax::app {

// --intensity depth|full|percentiles|stored|window2 for commands that read images without a trained
// network.
void add_intensity_option(CLI::App& command, std::string& intensity);

// For commands with trained networks: empty unless given.
void add_intensity_override(CLI::App& command, std::string& intensity);
}  // namespace thorax::app
