#include "data/folder_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <set>

#include "data/formats/format.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace fs = std::filesystem;
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool is_litter(const fs::path& path) {
  static const std::set<std::string> names = {"__macosx", "thumbs.db", "desktop.ini", "@eadir",
                                              "$recycle.bin"};
  const std::string name = lower(path.filename().string());
  return name.starts_with(".") || names.contains(name);
}

// Image and volume formats that no build reads, and archives that may hold images, by their ending.
const std::map<std::string, std::string>& kinds_by_ending() {
  static const std::map<std::string, std::string> kinds = {{".bmp", "BMP"},
                                                           {".dib", "BMP"},
                                                           {".gif", "GIF"},
                                                           {".webp", "WebP"},
                                                           {".mha", "MetaImage"},
                                                           {".mhd", "MetaImage"},
                                                           {".nrrd", "NRRD"},
                                                           {".jp2", "JPEG 2000"},
                                                           {".j2k", "JPEG 2000"},
                                                           {".jpx", "JPEG 2000"},
                                                           {".jxl", "JPEG XL"},
                                                           {".heic", "HEIC"},
                                                           {".heif", "HEIC"},
                                                           {".avif", "AVIF"},
                                                           {".pgm", "PNM"},
                                                           {".ppm", "PNM"},
                                                           {".pnm", "PNM"},
                                                           {".tga", "TGA"},
                                                           {".psd", "PSD"},
                                                           {".exr", "OpenEXR"},
                                                           {".h5", "HDF5"},
                                                           {".hdf5", "HDF5"},
                                                           {".mat", "MATLAB"},
                                                           {".zip", "archive"},
                                                           {".tar", "archive"},
                                                           {".tgz", "archive"},
                                                           {".tar.gz", "archive"},
                                                           {".7z", "archive"},
                                                           {".rar", "archive"},
                                                           {".jpe", "JPEG under another ending"},
                                                           {".jfif", "JPEG under another ending"}};
  return kinds;
}

// A file is taken for an image by its ending or, where its format often has none, by its first
// bytes. `kind` names an image that is not read, with the package that would let a build read it;
// it is empty for a file that is no image.
struct Found {
  bool readable = false;
  std::string kind = {};
};

Found of_format(const ImageFormat& format) {
  if (format.available()) return {true};
  return {false, fmt::format("{} (a build with {} reads it)", format.name, format.package)};
}

Found look_at(const fs::path& path) {
  const std::string known = format_ending(path);
  for (const ImageFormat& format : image_formats())
    if (std::find(format.endings.begin(), format.endings.end(), known) != format.endings.end())
      return of_format(format);
  const std::string name = lower(path.filename().string());
  for (const auto& [ending, kind] : kinds_by_ending())
    if (name.ends_with(ending)) return {false, kind};
  std::array<uint8_t, 512> head{};
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(head.data()), head.size());
  const auto size = static_cast<size_t>(file.gcount());
  // Fewer bytes than these are the beginning of anything.
  const ImageFormat* format = size < 8 ? nullptr : recognise_format(std::span(head).first(size));
  if (!format) return {};
  if (format->often_without_ending) return of_format(*format);
  return {false, format->name + " under another ending"};
}

class Walk {
 public:
  Walk(FolderFiles& out, Depth depth) : out_(out), depth_(depth) {}

  void operator()(const fs::path& folder, bool top = true) {
    std::error_code code;
    const fs::path real = fs::canonical(folder, code);
    if (!seen_.insert(code ? folder : real).second) {
      out_.notes.push_back(
          fmt::format("{}: a link to a folder that was read already; left out", folder.string()));
      return;
    }
    std::vector<fs::path> entries;
    fs::directory_iterator entry(folder, code);
    for (; !code && entry != fs::directory_iterator(); entry.increment(code))
      entries.push_back(entry->path());
    THORAX_CHECK(!code, "[data] {}: the folder cannot be listed: {}", folder.string(),
                 code.message());
    std::sort(entries.begin(), entries.end());
    for (const fs::path& path : entries) {
      const fs::file_status status = fs::status(path, code);  // of what a link leads to
      if (is_litter(path)) {
        out_.litter.push_back(path);
      } else if (fs::is_directory(status)) {
        if (top) out_.folders.push_back(path);
        if (depth_ == Depth::all) (*this)(path, false);
      } else if (fs::is_regular_file(status)) {
        file(path);
      } else if (!fs::exists(status)) {
        out_.notes.push_back(fmt::format("{}: a link that leads nowhere; left out", path.string()));
      }
      code.clear();
    }
  }

 private:
  void file(const fs::path& path) {
    if (lower(path.filename().string()) == "dicomdir") {
      out_.notes.push_back(
          fmt::format("{}: an index of DICOM files, no image; left out", path.string()));
      return;
    }
    const Found found = look_at(path);
    if (found.readable) {
      out_.images.push_back(path);
    } else if (!found.kind.empty()) {
      out_.unread[found.kind].push_back(path);
    } else {
      const std::string ending = lower(path.extension().string());
      ++out_.others[ending.empty() ? "(no ending)" : ending];
    }
  }

  FolderFiles& out_;
  Depth depth_;
  std::set<fs::path> seen_;
};

}  // namespace

FolderFiles files_in(const fs::path& folder, Depth depth) {
  FolderFiles out;
  Walk walk(out, depth);
  walk(folder);
  std::sort(out.images.begin(), out.images.end());
  return out;
}

std::string unread_counts(const FolderFiles& files) {
  std::vector<std::string> parts;
  for (const auto& [kind, paths] : files.unread)
    parts.push_back(fmt::format("{} {}", paths.size(), kind));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::vector<std::string> left_out_notes(const FolderFiles& files) {
  std::vector<std::string> notes;
  if (!files.unread.empty())
    notes.push_back(fmt::format("not read, only {} are: {}; the first is {}", readable_formats(),
                                unread_counts(files),
                                files.unread.begin()->second.front().string()));
  std::vector<std::string> parts;
  for (const auto& [ending, count] : files.others)
    parts.push_back(fmt::format("{} {}", count, ending));
  if (!parts.empty())
    notes.push_back(fmt::format("left out, no images: {}", fmt::join(parts, ", ")));
  if (!files.litter.empty())
    notes.push_back(
        fmt::format("left out, {} hidden or made by an operating system; the first is {}",
                    files.litter.size(), files.litter.front().string()));
  notes.insert(notes.end(), files.notes.begin(), files.notes.end());
  return notes;
}

}  // namespace thorax
