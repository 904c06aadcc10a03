#include "data/image_place.h"

#include <charconv>
#include <string>
#include <system_error>

namespace thorax {

ImagePlace image_place(const std::filesystem::path& image) {
  const std::string text = image.string();
  const size_t mark = text.rfind('#');
  if (mark == std::string::npos || mark == 0) return {image, 0};
  int frame = 0;
  const auto [end, error] =
      std::from_chars(text.data() + mark + 1, text.data() + text.size(), frame);
  std::error_code code;
  if (error != std::errc() || end != text.data() + text.size() || frame < 1 ||
      std::filesystem::exists(image, code))
    return {image, 0};
  return {text.substr(0, mark), frame};
}

}  // namespace thorax
