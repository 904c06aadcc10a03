// The folder that a command writes its results into.
#pragma once

#include <filesystem>

namespace thorax {

// Creates the folder where it is missing (create_folders) and removes the temporary files in it,
// not below it, that processes which no longer live have left: the command that was killed is being
// done again. Throws Error "[io] FOLDER: ...".
void open_output_folder(const std::filesystem::path& folder);

}  // namespace thorax
