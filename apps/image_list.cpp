#include "apps/image_list.h"

#include <fmt/format.h>

#include "data/folder_files.h"
#include "data/formats/format.h"
#include "data/image_place.h"
#include "data/readers/readers.h"
#include "engine/tensor/error.h"

namespace thorax::app {

namespace fs = std::filesystem;

std::vector<fs::path> list_images(const std::vector<std::string>& inputs) {
  std::vector<fs::path> result;
  for (const std::string& input : inputs) {
    THORAX_CHECK(fs::exists(image_file(input)), "[images] {}: no such file or folder", input);
    if (!fs::is_directory(input)) {
      result.emplace_back(input);
      continue;
    }
    const FolderFiles found = files_in(input, Depth::all);
    for (const std::string& note : left_out_notes(found))
      fmt::print(stderr, "note: {}: {}\n", input, note);
    THORAX_CHECK(!found.images.empty(),
                 "[images] {}: no image that this build reads ({}) below this folder{}", input,
                 readable_formats(),
                 found.unread.empty() ? "" : fmt::format(", but {}", unread_counts(found)));
    const std::vector<fs::path> images = readers::radiographs_of(input, found.images);
    if (images.size() < found.images.size())
      fmt::print(stderr,
                 "note: {}: {} files are taken for lung masks (below masks/, or x_mask.png beside "
                 "x.png) and left out; name one to read it all the same\n",
                 input, found.images.size() - images.size());
    result.insert(result.end(), images.begin(), images.end());
  }
  return result;
}

}  // namespace thorax::app
