#include "apps/inference/radiograph.h"

#include "data/image_check.h"
#include "engine/tensor/error.h"

namespace thorax {

ImageSource::ImageSource(std::filesystem::path file)
    : name_(file.string()), from_(std::move(file)) {}

ImageSource ImageSource::bytes(std::span<const std::uint8_t> content, std::string name) {
  ImageSource source;
  source.name_ = std::move(name);
  source.from_ = content;
  return source;
}

ImageSource ImageSource::pixels(const NumberArray& array, std::string name) {
  THORAX_CHECK(array.height > 0 && array.width > 0 && (array.channels == 1 || array.channels == 3),
               "[image] {}: {}x{} pixels of {} channels; an image has 1 (gray) or 3 (RGB), and at "
               "least one pixel",
               name, array.width, array.height, array.channels);
  THORAX_CHECK(array.data != nullptr, "[image] {}: no memory (a null pointer)", name);
  ImageSource source;
  source.name_ = std::move(name);
  source.from_ = array;
  return source;
}

Image ImageSource::gray(Intensity intensity, ImageFacts* facts) const {
  const ReadOptions options{.intensity = intensity};
  if (const auto* file = std::get_if<std::filesystem::path>(&from_))
    return load_gray(*file, options, facts);
  if (const auto* content = std::get_if<std::span<const std::uint8_t>>(&from_))
    return decode_gray(*content, name_, options, facts);
  return decode_gray(std::get<NumberArray>(from_), name_, options, facts);
}

Radiograph read_radiograph(const ImageSource& source, Intensity intensity) {
  Radiograph r;
  r.name = source.name();
  ImageFacts facts;
  r.gray = source.gray(intensity, &facts);
  r.notes = reading_notes(facts, intensity);
  r.blank = blank_reason(facts);
  if (r.blank.empty() && looks_inverted(r.gray)) r.notes.emplace_back(kInvertedNote);
  return r;
}

}  // namespace thorax
