#include "data/image_statistics.h"

#include <algorithm>
#include <cmath>

#include "data/decode.h"
#include "data/resize.h"

namespace thorax {
namespace {

// Mean over the pixels for which `in` holds.
template <class In>
double mean_where(const Image& image, const In& in) {
  double sum = 0, count = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      if (in(y, x)) sum += image.at(y, x), ++count;
  return count > 0 ? sum / count : 0;
}

double sharpness(const Image& image) {
  double sum = 0;
  for (int y = 1; y + 1 < image.height; ++y)
    for (int x = 1; x + 1 < image.width; ++x)
      sum += std::abs(4 * image.at(y, x) - image.at(y - 1, x) - image.at(y + 1, x) -
                      image.at(y, x - 1) - image.at(y, x + 1));
  return sum / static_cast<double>(image.pixels.size());
}

}  // namespace

const std::vector<std::string>& image_statistic_names() {
  static const std::vector<std::string> names{
      "height",    "width", "aspect", "jpeg",    "colour",     "mean",
      "deviation", "p05",   "p25",    "median",  "p75",        "p95",
      "black",     "white", "border", "corners", "left-right", "sharpness"};
  return names;
}

std::vector<double> image_statistics(const std::filesystem::path& path, Intensity intensity) {
  ImageFacts facts;
  const Image gray = load_gray(path, {.intensity = intensity}, &facts);
  const ImageInfo& info = facts.info;
  const Image small = resize(gray, 256, 256);
  std::vector<float> sorted = small.pixels;
  std::sort(sorted.begin(), sorted.end());
  const auto percentile = [&](double q) {
    return static_cast<double>(
        sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))]);
  };
  const auto share = [&](auto in) {
    return static_cast<double>(std::count_if(sorted.begin(), sorted.end(), in)) /
           static_cast<double>(sorted.size());
  };
  const double mean = mean_where(small, [](int, int) { return true; });
  double variance = 0;
  for (const float v : sorted) variance += (v - mean) * (v - mean);
  constexpr int kFrame = 256 / 20, kCorner = 256 / 8;
  const auto near_end = [](int i, int width) { return i < width || i >= 256 - width; };
  return {
      static_cast<double>(info.height),
      static_cast<double>(info.width),
      static_cast<double>(info.width) / info.height,
      info.format == "jpeg" ? 1.0 : 0.0,
      info.channels >= 3 ? 1.0 : 0.0,
      mean,
      std::sqrt(variance / static_cast<double>(sorted.size())),
      percentile(0.05),
      percentile(0.25),
      percentile(0.5),
      percentile(0.75),
      percentile(0.95),
      share([](float v) { return v < 2.f / 255; }),
      share([](float v) { return v > 253.f / 255; }),
      mean_where(small, [&](int y, int x) { return near_end(y, kFrame) || near_end(x, kFrame); }),
      mean_where(small, [&](int y, int x) { return near_end(y, kCorner) && near_end(x, kCorner); }),
      mean_where(small, [](int, int x) { return x < 128; }) -
          mean_where(small, [](int, int x) { return x >= 128; }),
      sharpness(small)};
}

}  // namespace thorax
