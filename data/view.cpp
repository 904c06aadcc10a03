#include "data/view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr std::array<std::pair<const char*, View>, 5> kNames{
    {{"whole", View::whole},
     {"lungs", View::lungs},
     {"no-lungs", View::no_lungs},
     {"no-lungs-filled", View::no_lungs_filled},
     {"border", View::border}}};

// The mask's bounding box takes the mean of the pixels outside of it.
void fill_box(Image& image, const ImageU8& mask) {
  int top = mask.height, bottom = -1, left = mask.width, right = -1;
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x)
      if (mask.at(y, x) != 0) {
        top = std::min(top, y), bottom = std::max(bottom, y);
        left = std::min(left, x), right = std::max(right, x);
      }
  if (bottom < 0) return;
  const auto inside = [&](int y, int x) {
    return y >= top && y <= bottom && x >= left && x <= right;
  };
  double sum = 0;
  std::int64_t count = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      if (!inside(y, x)) sum += image.at(y, x), ++count;
  const float mean = count > 0 ? static_cast<float>(sum / static_cast<double>(count)) : 0.5f;
  for (int y = top; y <= bottom; ++y)
    for (int x = left; x <= right; ++x) image.at(y, x) = mean;
}

void keep_frame(Image& image) {
  const int rows = (image.height + 9) / 10, columns = (image.width + 9) / 10;
  for (int y = rows; y < image.height - rows; ++y)
    for (int x = columns; x < image.width - columns; ++x) image.at(y, x) = 0.f;
}

}  // namespace

std::string name_of(View view) {
  for (const auto& [name, value] : kNames)
    if (value == view) return name;
  return "?";
}

std::vector<std::string> view_names() {
  std::vector<std::string> names;
  for (const auto& entry : kNames) names.emplace_back(entry.first);
  return names;
}

View parse_view(const std::string& text) {
  for (const auto& [name, value] : kNames)
    if (text == name) return value;
  fail("[view] '{}' is none of {}", text, fmt::join(view_names(), ", "));
}

bool needs_mask(View view) {
  return view == View::lungs || view == View::no_lungs || view == View::no_lungs_filled;
}

Image apply_view(View view, Image gray, const ImageU8& mask) {
  THORAX_CHECK(gray.channels == 1, "[view] wants a gray image, got {} channels", gray.channels);
  if (needs_mask(view))
    THORAX_CHECK(mask.height == gray.height && mask.width == gray.width,
                 "[view] '{}' of an image {}x{} wants a lung mask of that size, got {}x{}",
                 name_of(view), gray.height, gray.width, mask.height, mask.width);
  switch (view) {
    case View::whole:
      break;
    case View::lungs:
    case View::no_lungs:
      for (std::size_t i = 0; i < gray.pixels.size(); ++i)
        if ((mask.pixels[i] != 0) != (view == View::lungs)) gray.pixels[i] = 0.f;
      break;
    case View::no_lungs_filled:
      fill_box(gray, mask);
      break;
    case View::border:
      keep_frame(gray);
      break;
  }
  return gray;
}

}  // namespace thorax
