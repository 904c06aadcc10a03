// Whether a decoded file can be a radiograph at all, and whether black and white are the right way
// round.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/decode.h"
#include "data/image.h"

namespace thorax {

// Difference between the 99.5th and the 0.5th percentile of the gray values, over 256 x 256 places.
float central_range(const Image& gray);

// Why the image shows nothing, or "". Alpha that hides 99 % of it, or a central range under 2/255.
std::string blank_reason(const ImageFacts& facts);

// Correlation with the mean chest radiograph (8 x 8, mirror-symmetric), -1 to 1.
double chest_likeness(const Image& gray);

// Whether the image is probably a photographic negative, with white air: MONOCHROME1 that was saved
// as if it were MONOCHROME2. True under a likeness of -0.2.
bool looks_inverted(const Image& gray);

// What was done to a file on the way in, and harmless faults: EXIF orientation, bit depth, alpha, a
// missing end marker, wrong checksums.
std::vector<std::string> reading_notes(const ImageFacts& facts, Intensity intensity);

// The same notes of many files, each said once.
class ReadingNotes {
 public:
  void add(const std::string& note, const std::filesystem::path& file) {
    files_[note].push_back(file.filename().string());
  }
  // "NOTE: 5 images (a.png, b.png, c.png, ...)"
  std::vector<std::string> lines() const;

 private:
  std::map<std::string, std::vector<std::string>> files_;
};
inline constexpr const char* kInvertedNote =
    "WARNING: perhaps a photographic negative (white air); invert it";

// A radiograph for a network: load_gray, and Error "[image] FILE: shows nothing: ..." for a blank
// one.
Image load_radiograph(const std::filesystem::path& path, Intensity intensity,
                      ImageFacts* facts = nullptr);

}  // namespace thorax
