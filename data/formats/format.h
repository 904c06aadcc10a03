// The image formats: how a file is recognised, whether this build reads it, and by what. One row
// each in format.cpp; everything that opens or looks for images goes by this table.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/container_check.h"
#include "data/decode_samples.h"

namespace thorax {

struct ImageFormat {
  std::string id;    // ImageInfo::format: "png"
  std::string name;  // for people: "PNG"
  // Endings of file names, lower case, the first one the usual one: ".jpg", ".nii.gz".
  std::vector<std::string> endings;
  // Whether the first bytes are this format's; the extension of a file never decides.
  bool (*recognises)(std::span<const uint8_t> head) = nullptr;
  // Files of this format often have no ending: a folder is searched for them by their first bytes.
  bool often_without_ending = false;
  // What reads it in this build, with its version: "libtiff 4.5.0"; empty in a build without.
  std::string reader;
  // The Debian package that brings the reader at build time; empty for what every build has.
  std::string package;
  // Walks the file as far as is possible without decoding pixels. Throws Error "[decode] NAME:
  // ...".
  ImageInfo (*check)(std::span<const uint8_t> bytes, const std::string& name,
                     const DecodeLimits& limits) = nullptr;
  // Checks and decodes. With Use::mask the samples are the numbers that the file stores (labels,
  // indices of a palette). Throws Error "[decode] NAME: ...".
  Samples (*decode)(std::span<const uint8_t> bytes, const std::string& name,
                    const DecodeLimits& limits, Use use) = nullptr;

  bool available() const { return !reader.empty(); }
};

// All formats that are known, also those that this build does not read.
const std::vector<ImageFormat>& image_formats();

// The format of these first bytes (512 suffice), or null.
const ImageFormat* recognise_format(std::span<const uint8_t> head);

// The format of a file that is to be read. Throws Error "[decode] NAME: ..." for an empty file, one
// over the limit of bytes, an unknown format, and a format that this build does not read, with the
// package that brings it.
const ImageFormat& require_format(std::span<const uint8_t> bytes, const std::string& name,
                                  const DecodeLimits& limits);

// What reads the format of this id in this build. Pixels of a JPEG depend on it in their last bits.
const std::string& reader_of(const std::string& id);

// Of the formats that this build reads: "PNG, JPEG, TIFF".
std::string readable_formats();

// The ending of a file name that belongs to a known format, as the table has it; "" for any other.
// The longest counts: ".nii.gz".
std::string format_ending(const std::filesystem::path& path);

// The file's name without that ending (or, for another, without what std::filesystem calls the
// extension): "scan.nii.gz" -> "scan".
std::string image_stem(const std::filesystem::path& path);

}  // namespace thorax
