// Which files in a run's folder are the run's.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace thorax::app {

// Files, folders and links in a run's folder that no run writes, relative to it and sorted: what
// somebody else has put there. At the top a name must be one of a run's; below its folders a file
// must have the ending of one (tables, figures, images, weights), since images give names there.
std::vector<std::string> foreign_files(const std::filesystem::path& folder);

// Throws Error "[run] ..." naming them: --overwrite removes a run's own files and nothing else.
void check_only_run_files(const std::filesystem::path& folder);

}  // namespace thorax::app
