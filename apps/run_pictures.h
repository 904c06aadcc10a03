// The pictures in the folder of a run.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "apps/run_index.h"

namespace thorax::app {

// PNG files by the folder that they lie in, relative to the run's ("." for its own), sorted. What
// was cut out of every image (cut/) is the data, not a result. Files that vanish meanwhile and
// folders that cannot be read are left out.
std::map<std::string, std::vector<std::filesystem::path>> run_pictures(const RunEntry& run);

}  // namespace thorax::app
