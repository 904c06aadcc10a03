// The folder, or the one file, that a command writes its results into.
#pragma once

#include <filesystem>

namespace thorax {

// Creates the folder where it is missing (create_folders) and removes the temporary files in it,
// not below it, that processes which no longer live have left: the command that was killed is being
// done again. Throws Error "[io] FOLDER: ...".
void open_output_folder(const std::filesystem::path& folder);

// For a file that is written once all is done: finds out now whether it can be, so that nothing is
// computed in vain, and removes temporary files of it as above. The file stays as it is. Throws
// Error "[io] FILE: ..." for a folder, a device or pipe, and where no file can be created.
void check_output_file(const std::filesystem::path& file);

}  // namespace thorax
