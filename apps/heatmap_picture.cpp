#include "apps/heatmap_picture.h"

#include <algorithm>

#include "data/colormap.h"
#include "data/draw.h"
#include "data/overlay.h"

namespace thorax::app {
namespace {

constexpr int kGap = 8;
constexpr double kOpacity = 0.5;
constexpr Color kInk{30, 30, 30};

}  // namespace

ImageU8 heatmap_picture(const Image& gray, const Image& heat, const ImageU8& lungs,
                        const std::vector<std::string>& caption) {
  ImageU8 plain = to_rgb(to_u8(gray)), hot = overlay_heat(gray, heat, kOpacity);
  if (!lungs.empty()) {
    const int width = std::max(1, gray.width / 300);
    draw_outline(plain, lungs, kVermillion, width);
    draw_outline(hot, lungs, kVermillion, width);
  }
  const ImageU8 bar = color_bar(gray.height);
  const int width = 4 * kGap + 2 * gray.width + bar.width;
  int scale = 1, longest = 0;
  for (const std::string& line : caption) longest = std::max(longest, text_width(line));
  while (scale < 3 && (scale + 1) * longest <= width - 2 * kGap) ++scale;
  const int line_height = scale * kGlyphHeight + kGap;
  ImageU8 picture(gray.height + 2 * kGap + static_cast<int>(caption.size()) * line_height, width, 3,
                  255);
  paste(picture, plain, kGap, kGap);
  paste(picture, hot, kGap, 2 * kGap + gray.width);
  paste(picture, bar, kGap, 3 * kGap + 2 * gray.width);
  for (std::size_t i = 0; i < caption.size(); ++i)
    draw_text(picture, caption[i], gray.height + 2 * kGap + static_cast<int>(i) * line_height, kGap,
              kInk, scale);
  return picture;
}

}  // namespace thorax::app
