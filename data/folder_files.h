// What lies in a folder: images that are read, files of kinds that are not, and what operating
// systems leave behind. Nothing is passed over without being counted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace thorax {

struct FolderFiles {
  std::vector<std::filesystem::path> images;   // of formats that this build reads; sorted
  std::vector<std::filesystem::path> folders;  // folders directly inside; sorted
  // Image files of other kinds, by the kind's name: "TIFF", "DICOM", ...
  std::map<std::string, std::vector<std::filesystem::path>> unread;
  std::map<std::string, int64_t> others;  // by ending: ".csv" -> 2; "(no ending)"
  // Hidden files and folders, __MACOSX, Thumbs.db and the like; a folder counts once.
  std::vector<std::filesystem::path> litter;
  std::vector<std::string> notes;  // links that lead nowhere or back
};

enum class Depth { one, all };

// The files in `folder` or, with Depth::all, below it. Symbolic links are followed; a folder that a
// link leads to a second time is left out with a note, so that a circle ends. Throws Error
// "[data] FOLDER: ..." when a folder cannot be listed.
FolderFiles files_in(const std::filesystem::path& folder, Depth depth);

// A sentence for every sort of file that was left out, each with its number and the first name:
// kinds that are not read, others, what operating systems leave behind; and the notes.
std::vector<std::string> left_out_notes(const FolderFiles& files);

// "2 TIFF, 1 DICOM"
std::string unread_counts(const FolderFiles& files);

}  // namespace thorax
