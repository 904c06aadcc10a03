#include "data/decode_mask.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <set>

#include "data/decode_samples.h"
#include "data/image_orientation.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxColours = 64;  // more are smooth edges or noise
constexpr int kMaxLabel = 32;
constexpr double kMaxBetween = 0.10;   // share of a file between the poles
constexpr double kMaxOneValue = 0.03;  // share of a file with one value that is no pole

constexpr const char* kRemedy =
    "say which values are inside by mask_values=nonzero, half, or a list such as 1+2 in --data";

// "0 (71.2 %), 1 (28.8 %)", the most frequent first.
std::string list_values(const MaskValues& file) {
  std::vector<std::pair<int64_t, int>> order;
  int64_t all = 0;
  for (const auto& [value, count] : file.pixels) {
    order.emplace_back(-count, value);
    all += count;
  }
  std::sort(order.begin(), order.end());
  std::vector<std::string> parts;
  constexpr size_t kShown = 6;
  for (size_t i = 0; i < order.size() && i < kShown; ++i)
    parts.push_back(
        fmt::format("{} ({:.1f} %)", order[i].second,
                    -100.0 * static_cast<double>(order[i].first) / static_cast<double>(all)));
  std::string text = fmt::format("{}", fmt::join(parts, ", "));
  if (order.size() > kShown) text += fmt::format(" and {} more", order.size() - kShown);
  return text;
}

[[noreturn]] void doubt(const MaskValues& file, const std::string& why) {
  fail("[mask] {}: {}; it has the values {}; {}", file.file, why, list_values(file), kRemedy);
}

int64_t pixel_count(const MaskValues& file) {
  return int64_t{file.height} * file.width;
}

template <class T>
void copy_gray(const Samples& s, const T* from, MaskPixels& out) {
  for (size_t i = 0; i < s.count(); ++i)
    out.values.pixels[i] =
        static_cast<uint16_t>(from[i * static_cast<size_t>(s.channels)] / s.step);
}

// Difference from the corners' colour, in steps of 8 bits.
template <class T>
void copy_colour(const Samples& s, const T* from, const std::string& name, MaskPixels& out) {
  const size_t n = s.count(), channels = static_cast<size_t>(s.channels);
  const size_t width = static_cast<size_t>(s.info.width);
  const int shift = s.info.bits - 8;
  const auto sample = [&](size_t i, size_t c) { return from[i * channels + c] >> shift; };
  // Chroma of a JPEG is off by a few steps in what was gray.
  const int tolerance = s.info.lossy ? 16 : 0;
  bool gray = true;
  for (size_t i = 0; i < n && gray; ++i)
    gray = std::abs(from[i * channels] - from[i * channels + 1]) <= tolerance &&
           std::abs(from[i * channels + 2] - from[i * channels + 1]) <= tolerance;
  if (gray) {
    out.top = s.info.bits == 16 ? 65535 : 255;
    for (size_t i = 0; i < n; ++i) out.values.pixels[i] = from[i * channels + 1];
    return;
  }
  out.colour = true;
  out.top = 255;
  const size_t corners[4] = {0, width - 1, n - width, n - 1};
  for (size_t c = 0; c < 3; ++c) out.background.push_back(sample(corners[0], c));
  for (const size_t corner : corners)
    for (size_t c = 0; c < 3; ++c)
      THORAX_CHECK(std::abs(sample(corner, c) - out.background[c]) <= tolerance,
                   "[mask] {}: a coloured mask whose corners have different colours, so that no "
                   "background is known; save it as gray, 0 outside and 255 inside",
                   name);
  std::set<uint32_t> colours;
  for (size_t i = 0; i < n; ++i) {
    int difference = 0;
    uint32_t colour = 0;
    for (size_t c = 0; c < 3; ++c) {
      difference = std::max(difference, std::abs(sample(i, c) - out.background[c]));
      colour = colour << 8 | static_cast<uint32_t>(sample(i, c));
    }
    if (colours.size() <= kMaxColours) colours.insert(colour);
    out.values.pixels[i] = static_cast<uint16_t>(difference);
  }
  if (colours.size() <= kMaxColours)
    for (uint16_t& v : out.values.pixels) v = v ? 255 : 0;
}

// A mask that colour does not show and alpha does.
template <class T>
void check_alpha(const Samples& s, const T* from, const MaskPixels& out, const std::string& name) {
  if (s.channels != 2 && s.channels != 4) return;
  const auto& v = out.values.pixels;
  if (std::adjacent_find(v.begin(), v.end(), std::not_equal_to<>()) != v.end()) return;
  const size_t channels = static_cast<size_t>(s.channels);
  for (size_t i = 1; i < s.count(); ++i)
    THORAX_CHECK(from[(i + 1) * channels - 1] == from[channels - 1],
                 "[mask] {}: all pixels have one colour and only alpha differs; alpha is not read; "
                 "save the mask as gray, 0 outside and 255 inside",
                 name);
}

template <class T>
void copy(const Samples& s, const T* from, const std::string& name, MaskPixels& out) {
  if (s.channels >= 3)
    copy_colour(s, from, name, out);
  else
    copy_gray(s, from, out);
  check_alpha(s, from, out, name);
}

bool inside(int value, int file_top, const MaskRule& rule) {
  switch (rule.kind) {
    case MaskRule::Kind::half:
      return 2 * value >= (rule.top ? std::min(rule.top, file_top) : file_top);
    case MaskRule::Kind::values:
      return std::binary_search(rule.values.begin(), rule.values.end(), value);
    default:
      return value != 0;
  }
}

// Two poles, 0 and `top`, and little between. Edges that were made smooth have many values, each
// rare; a value that many pixels share is a label.
void check_poles(const MaskValues& file, int top) {
  const auto all = static_cast<double>(pixel_count(file));
  int64_t between = 0;
  for (const auto& [value, count] : file.pixels) {
    const bool low = value <= top / 8, high = value >= top - top / 8;
    if (!low && !high) between += count;
    if (value != 0 && !high && !(file.lossy && low) &&
        static_cast<double>(count) > kMaxOneValue * all)
      doubt(file, fmt::format("{:.1f} % of its pixels have the value {}, and 0 and {} are outside "
                              "and inside in its data set: not a smooth edge, so perhaps a label",
                              100.0 * static_cast<double>(count) / all, value, top));
  }
  if (static_cast<double>(between) > kMaxBetween * all)
    doubt(file, fmt::format("{:.1f} % of its pixels are neither near 0 nor near {}: not a mask, or "
                            "a label map",
                            100.0 * static_cast<double>(between) / all, top));
}

// Lungs do not reach all four corners of a radiograph.
void check_corners(const std::vector<MaskValues>& files, const MaskRule& rule) {
  const MaskValues* first = nullptr;
  size_t reversed = 0, shown = 0;
  for (const MaskValues& file : files) {
    const int64_t area = pixels_inside(file, rule);
    if (area == 0 || area == pixel_count(file)) continue;
    ++shown;
    if (!corners_inside(file, rule)) continue;
    ++reversed;
    if (!first) first = &file;
  }
  if (first && 2 * reversed > shown)
    doubt(*first, fmt::format("all four corners would be inside, as in {} of {} masks: perhaps the "
                              "lungs are the value 0 (mask_values=0)",
                              reversed, shown));
}

}  // namespace

MaskRule parse_mask_rule(const std::string& text) {
  MaskRule rule;
  if (text == "auto") return rule;
  if (text == "nonzero" || text == "half") {
    rule.kind = text == "half" ? MaskRule::Kind::half : MaskRule::Kind::nonzero;
    return rule;
  }
  const bool half = text.rfind("half:", 0) == 0;
  std::vector<int> values;
  const char *at = text.data() + (half ? 5 : 0), *end = text.data() + text.size();
  for (;;) {
    int value = 0;
    const auto [rest, error] = std::from_chars(at, end, value);
    THORAX_CHECK(
        error == std::errc() && value >= 0 && value <= 65535 && (rest == end || *rest == '+'),
        "[mask] mask_values={}: must be auto, nonzero, half, or values from 0 to 65535 "
        "joined by +",
        text);
    values.push_back(value);
    if (rest == end) break;
    at = rest + 1;
  }
  if (half) {
    THORAX_CHECK(values.size() == 1 && values[0] > 0,
                 "[mask] mask_values={}: half of one value above 0 is wanted", text);
    rule.kind = MaskRule::Kind::half;
    rule.top = values[0];
    return rule;
  }
  rule.kind = MaskRule::Kind::values;
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  rule.values = std::move(values);
  return rule;
}

std::string to_string(const MaskRule& rule) {
  switch (rule.kind) {
    case MaskRule::Kind::automatic:
      return "auto";
    case MaskRule::Kind::nonzero:
      return "nonzero";
    case MaskRule::Kind::half:
      return rule.top ? fmt::format("half:{}", rule.top) : "half";
    case MaskRule::Kind::values:
      break;
  }
  return fmt::format("{}", fmt::join(rule.values, "+"));
}

MaskPixels load_mask_pixels(const fs::path& path, const DecodeLimits& limits) {
  const std::string name = path.string();
  const auto bytes = read_image_file(path, limits);
  const Samples s = decode_samples(as_u8(bytes), name, limits, Use::mask);
  MaskPixels out;
  out.values = ImageU16(s.info.height, s.info.width);
  out.lossy = s.info.lossy;
  out.top = s.info.palette.empty() ? (1 << s.info.sample_bits) - 1
                                   : static_cast<int>(s.info.palette.size() / 3) - 1;
  if (s.info.bits == 16)
    copy(s, s.u16(), name, out);
  else
    copy(s, s.u8(), name, out);
  out.values = turned(std::move(out.values), s.info.orientation);
  return out;
}

MaskValues mask_values(const MaskPixels& pixels, const std::string& file) {
  const ImageU16& v = pixels.values;
  MaskValues out{file,          v.height,          v.width, pixels.top, pixels.lossy,
                 pixels.colour, pixels.background, {},      {}};
  std::vector<int64_t> counts(65536);
  for (const uint16_t value : v.pixels) ++counts[value];
  for (size_t value = 0; value < counts.size(); ++value)
    if (counts[value]) out.pixels[static_cast<int>(value)] = counts[value];
  for (const int y : {0, v.height - 1})
    for (const int x : {0, v.width - 1}) out.corners.push_back(v.at(y, x));
  return out;
}

MaskRule decide_mask_rule(const std::vector<MaskValues>& files) {
  THORAX_CHECK(!files.empty(), "[mask] no masks to decide by");
  std::map<int, const MaskValues*> seen;  // value -> a file that has it
  const MaskValues* coloured = nullptr;
  // Files of one bit a pixel say nothing about those of more.
  const bool bits =
      std::all_of(files.begin(), files.end(), [](const auto& f) { return f.top == 1; });
  for (const MaskValues& file : files) {
    for (const auto& [value, count] : file.pixels)
      if (bits || file.top > 1) seen.emplace(value, &file);
    if (!file.colour) continue;
    if (coloured && coloured->background != file.background)
      fail("[mask] {}: its background has the colour ({}), that of {} ({}); {}", file.file,
           fmt::join(file.background, ", "), coloured->file, fmt::join(coloured->background, ", "),
           "save the masks as gray, 0 outside and 255 inside");
    coloured = &file;
  }
  const int top = seen.rbegin()->first;
  const bool lossy =
      std::any_of(files.begin(), files.end(), [](const MaskValues& file) { return file.lossy; });
  MaskRule rule;
  rule.kind = MaskRule::Kind::nonzero;
  if (!seen.count(0) && seen.size() == 1) {
    // All full, if this is what masks of their kind have inside.
    const MaskValues& file = files.front();
    if (top != 1 && top != file.top) doubt(file, "all pixels of all masks have one value");
  } else if (seen.size() <= 2 && seen.count(0)) {
    if (lossy && top > 0 && top < 64)
      doubt(*seen[top], "a JPEG cannot hold labels, and nothing else is seen");
  } else if (!lossy && seen.count(0) && top <= kMaxLabel) {
    // A label map: whatever has a label is inside.
  } else {
    if (top < 64 || (!lossy && !seen.count(0)))
      doubt(*seen[top], "its values are neither labels nor an outside of 0 and an inside");
    for (const MaskValues& file : files)
      if (file.top > 1) check_poles(file, top);
    rule.kind = MaskRule::Kind::half;
    rule.top = top;
  }
  check_corners(files, rule);
  return rule;
}

bool corners_inside(const MaskValues& file, const MaskRule& rule) {
  return pixels_inside(file, rule) < pixel_count(file) &&
         std::all_of(file.corners.begin(), file.corners.end(),
                     [&](int v) { return inside(v, file.top, rule); });
}

int64_t pixels_inside(const MaskValues& file, const MaskRule& rule) {
  int64_t area = 0;
  for (const auto& [value, count] : file.pixels)
    if (inside(value, file.top, rule)) area += count;
  return area;
}

ImageU8 apply_mask_rule(const MaskPixels& pixels, const MaskRule& rule, const std::string& file) {
  THORAX_CHECK(rule.kind != MaskRule::Kind::values || !pixels.colour,
               "[mask] {}: is coloured, and mask_values={} names gray values; save it as gray, or "
               "use mask_values=nonzero: all but the background",
               file, to_string(rule));
  ImageU8 mask(pixels.values.height, pixels.values.width);
  for (size_t i = 0; i < mask.pixels.size(); ++i)
    mask.pixels[i] = inside(pixels.values.pixels[i], pixels.top, rule) ? 255 : 0;
  return mask;
}

ImageU8 load_mask(const fs::path& path, const MaskRule& rule, const DecodeLimits& limits) {
  const MaskPixels pixels = load_mask_pixels(path, limits);
  if (rule.kind != MaskRule::Kind::automatic) return apply_mask_rule(pixels, rule, path.string());
  return apply_mask_rule(pixels, decide_mask_rule({mask_values(pixels, path.string())}),
                         path.string());
}

}  // namespace thorax
