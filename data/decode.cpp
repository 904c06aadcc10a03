#include "data/decode.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "data/decode_samples.h"
#include "data/formats/numbers.h"
#include "data/image_check.h"
#include "data/image_orientation.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::pair<const char*, Intensity>, 5> kIntensities{
    {{"depth", Intensity::depth},
     {"full", Intensity::full},
     {"percentiles", Intensity::percentiles},
     {"stored", Intensity::stored},
     {"window2", Intensity::window2}}};

// Gray samples divided by `top`, for a vector that is built from them: one that is sized first
// would be written twice.
template <class T, int C>
struct Scaled {
  using iterator_category = std::random_access_iterator_tag;
  using value_type = float;
  using difference_type = ptrdiff_t;
  using pointer = const float*;
  using reference = float;
  const T* at;
  float top;
  float operator*() const { return static_cast<float>(*at) / top; }
  Scaled& operator++() {
    at += C;
    return *this;
  }
  difference_type operator-(const Scaled& other) const { return (at - other.at) / C; }
  bool operator==(const Scaled& other) const { return at == other.at; }
  bool operator!=(const Scaled& other) const { return at != other.at; }
};

// C channels of T (alpha last where their number is even) to gray or colour, divided by `top`.
template <class T, int C>
Image convert(const T* from, const ImageInfo& info, bool gray, float top) {
  constexpr int kColor = C >= 3 ? 3 : 1;
  const size_t n = static_cast<size_t>(info.height) * info.width;
  if constexpr (kColor == 1) {
    Image plane;
    plane.height = info.height;
    plane.width = info.width;
    plane.channels = 1;
    plane.pixels = std::vector<float>(Scaled<T, C>{from, top}, Scaled<T, C>{from + n * C, top});
    return plane;
  }
  Image out(info.height, info.width, gray ? 1 : kColor);
  float* to = out.pixels.data();
  if (gray) {
    for (size_t i = 0; i < n; ++i, from += C) {
      const float r = static_cast<float>(from[0]) / top, g = static_cast<float>(from[1]) / top,
                  b = static_cast<float>(from[2]) / top;
      to[i] = g + 0.299f * (r - g) + 0.114f * (b - g);  // as to_gray
    }
  } else {
    for (size_t i = 0; i < n; ++i, from += C)
      for (int c = 0; c < 3; ++c) *to++ = static_cast<float>(from[c]) / top;
  }
  return out;
}

template <class T>
Image convert(const Samples& s, const T* from, bool gray, float top) {
  switch (s.channels) {
    case 1:
      return convert<T, 1>(from, s.info, gray, top);
    case 2:
      return convert<T, 2>(from, s.info, gray, top);
    case 3:
      return convert<T, 3>(from, s.info, gray, top);
    default:
      return convert<T, 4>(from, s.info, gray, top);
  }
}

Image expand_palette(const Samples& s, bool gray) {
  const std::vector<uint8_t>& colours = s.info.palette;
  std::vector<uint8_t> rgb(3 * s.count());
  for (size_t i = 0; i < s.count(); ++i)
    std::copy_n(colours.begin() + 3 * (s.u8()[i] / s.step), 3, rgb.begin() + 3 * i);
  return convert<uint8_t, 3>(rgb.data(), s.info, gray, 255.f);
}

// All colour samples joined by OR.
template <class T>
uint32_t combined(const Samples& s, const T* from) {
  const int color = s.channels >= 3 ? 3 : 1;
  T all = 0;
  if (s.channels == color) {
    for (size_t i = 0; i < s.count() * color; ++i) all |= from[i];
  } else {
    for (size_t i = 0; i < s.count(); ++i, from += s.channels)
      for (int c = 0; c < color; ++c) all |= from[c];
  }
  return all;
}

// The least depth that holds all samples but one in 10,000. One bright pixel, of a marker or a
// defect, otherwise decides in silence how dark all others become.
int common_depth(const Samples& s, int depth) {
  const uint16_t* from = s.u16();
  const size_t n = s.count() * static_cast<size_t>(s.channels);
  const bool alpha = s.channels == 2 || s.channels == 4;
  int common = depth;
  for (const int less : {14, 12, 10, 8}) {
    if (less >= depth) continue;
    size_t above = 0;
    for (size_t i = 0; i < n; ++i)
      above += (from[i] >> less) != 0 && !(alpha && (i + 1) % static_cast<size_t>(s.channels) == 0);
    if (above * 10000 >= n) break;
    common = less;
  }
  return common;
}

// Whether at least 99 % of the pixels have alpha 0.
template <class T>
bool hidden(const Samples& s, const T* from) {
  if (s.channels != 2 && s.channels != 4) return false;
  size_t seen = 0;
  for (size_t i = 0; i < s.count(); ++i) seen += from[(i + 1) * s.channels - 1] != 0;
  return 100 * seen <= s.count();
}

bool hidden_by_palette(const Samples& s) {
  size_t seen = 0;
  for (size_t i = 0; i < s.count(); ++i) {
    const size_t index = s.u8()[i] / static_cast<size_t>(s.step);
    seen += index >= s.info.palette_alpha.size() || s.info.palette_alpha[index] != 0;
  }
  return 100 * seen <= s.count();
}

void stretch_percentiles(Image& image) {
  constexpr int kBins = 65536;
  std::vector<int64_t> counts(kBins);
  for (const float v : image.pixels) ++counts[static_cast<size_t>(std::lround(v * (kBins - 1)))];
  const auto percentile = [&](double q) {
    const double wanted = q * static_cast<double>(image.pixels.size() - 1);
    int64_t below = 0;
    for (int bin = 0; bin < kBins; ++bin) {
      below += counts[static_cast<size_t>(bin)];
      if (static_cast<double>(below) > wanted) return static_cast<float>(bin) / (kBins - 1);
    }
    return 1.f;
  };
  const float low = percentile(0.005), high = percentile(0.995);
  if (high <= low) return;  // nothing to stretch
  for (float& v : image.pixels) v = std::clamp((v - low) / (high - low), 0.f, 1.f);
}

// The window that the file is read by, or null: by the depth of its samples.
const Samples::Window* chosen_window(const Samples& s, Intensity intensity,
                                     const std::string& name) {
  if (intensity == Intensity::window2) {
    THORAX_CHECK(s.info.format != "dicom" || s.info.bits != 16 || s.windows.size() >= 2,
                 "[decode] {}: --intensity window2: the file names {} windows or VOI LUTs; depth "
                 "reads by the first, stored by none",
                 name, s.windows.size());
    return s.windows.size() >= 2 ? &s.windows[1] : nullptr;
  }
  return intensity == Intensity::depth && !s.windows.empty() ? &s.windows[0] : nullptr;
}

Image through(const Samples& s, const std::vector<float>& brightness) {
  Image out(s.info.height, s.info.width, 1);
  for (size_t i = 0; i < s.count(); ++i) out.pixels[i] = brightness[s.u16()[i]];
  return out;
}

Image brightness_of(const Samples& s, const std::string& name, const ReadOptions& options,
                    bool gray, ImageFacts* facts) {
  const bool wide = s.info.bits == 16;
  int depth = std::max(8, s.info.sample_bits);
  Image image;
  const Samples::Window* window = chosen_window(s, options.intensity, name);
  if (!s.info.palette.empty()) {
    image = expand_palette(s, gray);
  } else if (window) {
    image = through(s, window->brightness);
  } else {
    if (s.top == 0 && s.info.sample_bits >= 8 && (wide || s.info.significant_bits > 0))
      depth = effective_depth(wide ? combined(s, s.u16()) : combined(s, s.u8()), s.info.sample_bits,
                              s.info.significant_bits);
    const int used = options.intensity == Intensity::full ? std::max(8, s.info.sample_bits) : depth;
    const auto top = static_cast<float>(s.top ? s.top : (1 << used) - 1);
    image = wide ? convert(s, s.u16(), gray, top) : convert(s, s.u8(), gray, top);
    if (s.inverted)
      for (float& v : image.pixels) v = 1 - v;
  }
  if (facts) {
    facts->range = gray ? central_range(image) : 0;
    facts->info = s.info;
    if (window)
      facts->info.notes.push_back(fmt::format("read by the {} {} of its header",
                                              window == s.windows.data() ? "first" : "second",
                                              window->name));
    else if (!s.windows.empty())
      facts->info.notes.push_back(fmt::format("windows of its header not applied (--intensity {})",
                                              name_of(options.intensity)));
    if (swaps_sides(s.info.orientation)) std::swap(facts->info.height, facts->info.width);
    facts->depth = facts->common_depth = depth;
    if (wide && s.top == 0 && s.info.significant_bits == 0)
      facts->common_depth = common_depth(s, depth);
    facts->transparent = !s.info.palette.empty() ? hidden_by_palette(s)
                         : wide                  ? hidden(s, s.u16())
                                                 : hidden(s, s.u8());
  }
  if (options.intensity == Intensity::percentiles) stretch_percentiles(image);
  return turned(std::move(image), s.info.orientation);
}

}  // namespace

std::string name_of(Intensity intensity) {
  for (const auto& [name, value] : kIntensities)
    if (value == intensity) return name;
  return "?";
}

std::vector<std::string> intensity_names() {
  std::vector<std::string> names;
  for (const auto& entry : kIntensities) names.emplace_back(entry.first);
  return names;
}

Intensity parse_intensity(const std::string& text) {
  for (const auto& [name, value] : kIntensities)
    if (text == name) return value;
  fail("[decode] intensity '{}' is none of {}", text, fmt::join(intensity_names(), ", "));
}

int effective_depth(uint32_t combined, int sample_bits, int significant_bits) {
  const int used = std::bit_width(combined);
  if (significant_bits > 0 && significant_bits < sample_bits) {
    // Scaled up as the standard asks (13.12), the values of a picture reach into the upper bits.
    // Where all stay below, they were stored as they are.
    return used <= significant_bits ? significant_bits : sample_bits;
  }
  if (sample_bits != 16 || significant_bits == 16) return sample_bits;
  for (const int depth : {8, 10, 12, 14})
    if (used <= depth) return depth;
  return 16;
}

ImageInfo read_image_info(const fs::path& path, const DecodeLimits& limits) {
  ImageInfo info = check_container(as_u8(read_image_file(path, limits)), path.string(), limits);
  if (swaps_sides(info.orientation)) std::swap(info.height, info.width);
  return info;
}

Image decode_image(std::span<const uint8_t> bytes, const std::string& name,
                   const ReadOptions& options, ImageFacts* facts) {
  return brightness_of(decode_samples(bytes, name, options.limits, Use::image), name, options,
                       false, facts);
}

Image decode_gray(std::span<const uint8_t> bytes, const std::string& name,
                  const ReadOptions& options, ImageFacts* facts) {
  return brightness_of(decode_samples(bytes, name, options.limits, Use::gray), name, options, true,
                       facts);
}

Image decode_gray(const NumberArray& array, const std::string& name, const ReadOptions& options,
                  ImageFacts* facts) {
  ImageInfo info;
  info.format = "array";
  info.height = array.height;
  info.width = array.width;
  check_size(info, name, options.limits);
  return brightness_of(samples_of(array, std::move(info), name, Use::gray), name, options, true,
                       facts);
}

Image load_image(const fs::path& path, const ReadOptions& options, ImageFacts* facts) {
  return decode_image(as_u8(read_image_file(path, options.limits)), path.string(), options, facts);
}

Image load_gray(const fs::path& path, const ReadOptions& options, ImageFacts* facts) {
  return decode_gray(as_u8(read_image_file(path, options.limits)), path.string(), options, facts);
}

}  // namespace thorax
