#include "apps/image_list.h"

#include <algorithm>
#include <cctype>

#include "engine/tensor/error.h"

namespace thorax::app {

namespace fs = std::filesystem;

std::vector<fs::path> list_images(const std::vector<std::string>& inputs) {
  std::vector<fs::path> result;
  for (const std::string& input : inputs) {
    THORAX_CHECK(fs::exists(input), "[images] {}: no such file or folder", input);
    if (!fs::is_directory(input)) {
      result.emplace_back(input);
      continue;
    }
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(input)) {
      std::string extension = entry.path().extension().string();
      std::transform(extension.begin(), extension.end(), extension.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      if (entry.is_regular_file() &&
          (extension == ".png" || extension == ".jpg" || extension == ".jpeg"))
        found.push_back(entry.path());
    }
    THORAX_CHECK(!found.empty(), "[images] {}: no .png, .jpg or .jpeg below this folder", input);
    std::sort(found.begin(), found.end());
    result.insert(result.end(), found.begin(), found.end());
  }
  return result;
}

}  // namespace thorax::app
