// One radiograph, from wherever it comes, as the networks of this program are shown it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "data/decode.h"
#include "data/formats/numbers.h"
#include "data/image.h"

namespace thorax {

// An image file, the bytes of one, or pixels in memory. Bytes and pixels are referred to, not
// copied: they must outlive it.
class ImageSource {
 public:
  ImageSource(std::filesystem::path file);  // NOLINT: a path is a source
  ImageSource(const std::string& file) : ImageSource(std::filesystem::path(file)) {}  // NOLINT
  ImageSource(const char* file) : ImageSource(std::filesystem::path(file)) {}         // NOLINT
  // The content of an image file of any format that this build reads; `name` is for messages.
  static ImageSource bytes(std::span<const std::uint8_t> content, std::string name);
  // height x width x 1 or 3 numbers, read as if numpy.save had written them to a file. Throws Error
  // "[image] NAME: ..." for another number of channels or no pixels.
  static ImageSource pixels(const NumberArray& array, std::string name);

  // The path, or the name that was given.
  const std::string& name() const { return name_; }
  // Gray, 0..1. Throws Error "[decode] NAME: ...".
  Image gray(Intensity intensity, ImageFacts* facts = nullptr) const;

 private:
  ImageSource() = default;
  std::string name_;
  std::variant<std::filesystem::path, std::span<const std::uint8_t>, NumberArray> from_;
};

struct Radiograph {
  std::string name;
  Image gray;                      // 0..1, of the image's own size
  std::string blank;               // why it shows nothing (data/image_check.h), or ""
  std::vector<std::string> notes;  // what was done to it on the way in, and doubts

  // "shows nothing: ..." of a blank one, else empty.
  std::string blank_text() const { return blank.empty() ? "" : "shows nothing: " + blank; }
};
// Throws Error as ImageSource::gray.
Radiograph read_radiograph(const ImageSource& source, Intensity intensity);

}  // namespace thorax
