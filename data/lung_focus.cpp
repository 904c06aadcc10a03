#include "data/lung_focus.h"

#include <vector>

#include "engine/tensor/error.h"

namespace thorax {

std::optional<LungFocus> lung_focus(const Image& heat, const ImageU8& lungs) {
  THORAX_CHECK(heat.channels == 1 && lungs.channels == 1 && heat.height == lungs.height &&
                   heat.width == lungs.width,
               "[lung_focus] heatmap {}x{}x{} and lungs {}x{}x{} differ in size", heat.height,
               heat.width, heat.channels, lungs.height, lungs.width, lungs.channels);
  double all = 0, inside = 0;
  std::int64_t area = 0;
  float most = 0;
  std::vector<std::size_t> maxima;
  for (std::size_t i = 0; i < heat.pixels.size(); ++i) {
    const float value = heat.pixels[i];
    THORAX_CHECK(value >= 0, "[lung_focus] heatmap value {} at pixel {}", value, i);
    all += static_cast<double>(value);
    if (lungs.pixels[i] != 0) {
      inside += static_cast<double>(value);
      ++area;
    }
    if (value > most) {
      most = value;
      maxima.clear();
    }
    if (value == most) maxima.push_back(i);
  }
  if (all <= 0 || area == 0) return std::nullopt;
  return LungFocus{inside / all,
                   static_cast<double>(area) / static_cast<double>(heat.pixels.size()),
                   lungs.pixels[maxima[maxima.size() / 2]] != 0};
}

}  // namespace thorax
