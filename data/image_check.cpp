#include "data/image_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr int kGrid = 256;

// Calls f(row, column, value) for 256 x 256 places spread evenly.
template <class F>
void over_grid(const Image& gray, const F& f) {
  std::array<int, kGrid> column;
  for (int x = 0; x < kGrid; ++x)
    column[static_cast<size_t>(x)] =
        static_cast<int>((2 * int64_t{x} + 1) * gray.width / (2 * kGrid));
  for (int y = 0; y < kGrid; ++y) {
    const int row = static_cast<int>((2 * int64_t{y} + 1) * gray.height / (2 * kGrid));
    const float* from = gray.row(row);
    for (int x = 0; x < kGrid; ++x) f(y, x, from[column[static_cast<size_t>(x)]]);
  }
}

// Mean of 1167 public radiographs (COVID-19 image data collection, NIH, Shenzhen, Montgomery), each
// with mean 0 and deviation 100, and of their mirror images: the left four of eight columns.
constexpr std::array<std::array<int, 4>, 8> kChest{{{-167, -137, -90, -2},
                                                    {-34, -16, -54, -5},
                                                    {10, -6, -88, -3},
                                                    {7, -14, -77, 30},
                                                    {-11, -13, -30, 69},
                                                    {-28, 9, 32, 100},
                                                    {-44, 53, 92, 127},
                                                    {-49, 79, 120, 137}}};

}  // namespace

float central_range(const Image& gray) {
  constexpr int kBins = 4096;
  std::array<int, kBins> counts{};
  over_grid(gray, [&](int, int, float v) {
    ++counts[static_cast<size_t>(std::clamp(v, 0.f, 1.f) * (kBins - 1) + 0.5f)];
  });
  constexpr int kTail = kGrid * kGrid / 200;
  int low = 0, high = kBins - 1;
  for (int below = counts[0]; below <= kTail; below += counts[static_cast<size_t>(low)]) ++low;
  for (int above = counts[kBins - 1]; above <= kTail; above += counts[static_cast<size_t>(high)])
    --high;
  return static_cast<float>(high - low) / (kBins - 1);
}

std::string blank_reason(const ImageFacts& facts) {
  if (facts.transparent) return "at least 99 % of it is fully transparent";
  if (facts.range < 2.f / 255)
    return fmt::format("99 % of its gray values lie within {:.1f} of 255 levels",
                       255 * facts.range);
  return "";
}

double chest_likeness(const Image& gray) {
  std::array<std::array<double, 8>, 8> cell{};
  over_grid(gray, [&](int y, int x, float v) { cell[y / 32][x / 32] += v; });
  double mean = 0, chest_mean = 0;
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x) {
      mean += cell[y][x] / 64;
      chest_mean += kChest[y][std::min(x, 7 - x)] / 64.;
    }
  double product = 0, square = 0, chest_square = 0;
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x) {
      const double a = cell[y][x] - mean, b = kChest[y][std::min(x, 7 - x)] - chest_mean;
      product += a * b;
      square += a * a;
      chest_square += b * b;
    }
  return square > 0 ? product / std::sqrt(square * chest_square) : 0;
}

bool looks_inverted(const Image& gray) {
  return chest_likeness(gray) < -0.2;
}

std::vector<std::string> reading_notes(const ImageFacts& facts, Intensity intensity) {
  std::vector<std::string> notes = facts.info.notes;
  if (facts.info.orientation > 1)
    notes.push_back(facts.info.format == "dicom" ? "turned as PatientOrientation says"
                                                 : fmt::format("turned as EXIF orientation {} says",
                                                               facts.info.orientation));
  const int stored = std::max(8, facts.info.sample_bits);
  if (facts.depth != stored)
    notes.push_back(
        intensity == Intensity::full
            ? fmt::format("{}-bit values in {} bits, read over the full range (--intensity full)",
                          facts.depth, stored)
            : fmt::format("{}-bit values in {} bits, read as {}-bit", facts.depth, stored,
                          facts.depth));
  if (facts.common_depth < facts.depth && intensity == Intensity::depth)
    notes.push_back(fmt::format(
        "WARNING: less than 0.01 % of the pixels decide for {} bits, all others fit in {}, so that "
        "the image is dark; --intensity percentiles does not go by single pixels",
        facts.depth, facts.common_depth));
  if (!facts.info.lossy && (facts.info.channels == 2 || facts.info.channels == 4))
    notes.emplace_back("alpha ignored");
  return notes;
}

std::vector<std::string> ReadingNotes::lines() const {
  constexpr size_t kShown = 3;
  std::vector<std::string> out;
  for (const auto& [note, files] : files_) {
    const std::vector<std::string> shown(
        files.begin(), files.begin() + static_cast<ptrdiff_t>(std::min(files.size(), kShown)));
    out.push_back(fmt::format("{}: {} {} ({}{})", note, files.size(),
                              files.size() == 1 ? "image" : "images", fmt::join(shown, ", "),
                              files.size() > kShown ? ", ..." : ""));
  }
  return out;
}

Image load_radiograph(const std::filesystem::path& path, Intensity intensity, ImageFacts* facts) {
  ImageFacts own;
  ImageFacts& known = facts ? *facts : own;
  Image gray = load_gray(path, {.intensity = intensity}, &known);
  const std::string reason = blank_reason(known);
  THORAX_CHECK(reason.empty(), "[image] {}: shows nothing: {}", path.string(), reason);
  return gray;
}

}  // namespace thorax
