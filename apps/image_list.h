// Files named on a command line.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace thorax::app {

// Files as given; folders are searched recursively for images of the formats that this build reads
// (data/formats/format.h), sorted by path; what else lies there is counted on stderr. Throws Error
// naming an input that does not exist or a folder without images.
std::vector<std::filesystem::path> list_images(const std::vector<std::string>& inputs);

}  // namespace thorax::app
