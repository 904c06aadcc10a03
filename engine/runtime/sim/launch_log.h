// A record of what ran on simulated devices; off unless THORAX_SIM_LAUNCHES names a file.
#pragma once

#include <cstddef>

namespace thorax::sim {

void log_launch(const char* kernel, unsigned threads, std::size_t dynamic_shared);

}  // namespace thorax::sim
