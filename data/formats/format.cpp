#include "data/formats/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string_view>

#include "data/decode_jpeg.h"
#include "data/formats/dicom/dicom.h"
#include "data/formats/dicom/structure.h"
#include "data/formats/nifti.h"
#include "data/formats/numpy.h"
#include "data/formats/stb.h"
#include "data/formats/tiff.h"
#include "data/formats/turbo.h"
#include "data/image_place.h"
#include "engine/io/file_kind.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

namespace fs = std::filesystem;
using Bytes = std::span<const uint8_t>;
using std::string_view_literals::operator""sv;

// Whether `bytes` begin with `magic`, or end within it: a file that was cut short there is a
// truncated file of this format.
bool begins(Bytes bytes, std::string_view magic) {
  const size_t common = std::min(bytes.size(), magic.size());
  return common > 0 &&
         std::equal(magic.begin(), magic.begin() + static_cast<ptrdiff_t>(common), bytes.begin(),
                    [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; });
}

bool is_png(Bytes head) {
  return begins(head, "\x89PNG\r\n\x1A\n"sv);
}
bool is_jpeg(Bytes head) {
  return begins(head, "\xFF\xD8"sv);
}
bool is_tiff(Bytes head) {
  return head.size() >= 4 && (begins(head, "II\x2A\0"sv) || begins(head, "MM\0\x2A"sv) ||
                              begins(head, "II\x2B\0"sv) || begins(head, "MM\0\x2B"sv));
}

std::vector<ImageFormat> make_table() {
  const std::string stb = "stb_image", turbo = turbo_reader();
  std::vector<ImageFormat> table;
  table.push_back({.id = "png",
                   .name = "PNG",
                   .endings = {".png"},
                   .recognises = is_png,
                   .reader = stb,
                   .package = "",
                   .check = check_png,
                   .decode = decode_png_by_stb});
  table.push_back({.id = "jpeg",
                   .name = "JPEG",
                   .endings = {".jpg", ".jpeg"},
                   .recognises = is_jpeg,
                   .reader = turbo.empty() ? stb : turbo,
                   .package = "",
                   .check = check_jpeg,
                   .decode = turbo.empty() ? decode_jpeg_by_stb : decode_jpeg_by_turbo});
  table.push_back({.id = "tiff",
                   .name = "TIFF",
                   .endings = {".tif", ".tiff"},
                   .recognises = is_tiff,
                   .reader = tiff_reader(),
                   .package = "libtiff-dev",
                   .check = check_tiff,
                   .decode = decode_tiff});
  table.push_back({.id = "npy",
                   .name = "NumPy",
                   .endings = {".npy", ".npz"},
                   .recognises = is_npy,
                   .reader = "thorax",
                   .package = "",
                   .check = check_npy,
                   .decode = decode_npy});
  table.push_back({.id = "nifti",
                   .name = "NIfTI",
                   .endings = {".nii", ".nii.gz"},
                   .recognises = is_nifti,
                   .reader = "thorax",
                   .package = "",
                   .check = check_nifti,
                   .decode = decode_nifti});
  table.push_back({.id = "dicom",
                   .name = "DICOM",
                   .endings = {".dcm", ".dicom", ".ima"},
                   .recognises = dicom::looks_like_dicom,
                   .often_without_ending = true,
                   .reader = dicom_reader(),
                   .package = "libdcmtk-dev",
                   .check = check_dicom,
                   .decode = decode_dicom});
  return table;
}

std::string lower_name(const fs::path& path) {
  std::string name = path.filename().string();
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

}  // namespace

const std::vector<ImageFormat>& image_formats() {
  static const std::vector<ImageFormat> table = make_table();
  return table;
}

const ImageFormat* recognise_format(Bytes head) {
  for (const ImageFormat& format : image_formats())
    if (format.recognises(head)) return &format;
  return nullptr;
}

const ImageFormat& require_format(Bytes bytes, const std::string& name,
                                  const DecodeLimits& limits) {
  THORAX_CHECK(!bytes.empty(), "[decode] {}: file is empty", name);
  THORAX_CHECK(static_cast<int64_t>(bytes.size()) <= limits.max_file_bytes,
               "[decode] {}: file has {} bytes, the limit is {}", name, bytes.size(),
               limits.max_file_bytes);
  const ImageFormat* format = recognise_format(bytes);
  if (!format) {
    const std::string kind =
        foreign_kind(std::as_bytes(bytes.first(std::min<size_t>(bytes.size(), 512))));
    fail("[decode] {}: no image of a format that is read ({}): {}", name, readable_formats(),
         kind.empty()
             ? fmt::format("first bytes {:02X} {:02X}", bytes[0], bytes.size() > 1 ? bytes[1] : 0)
             : kind);
  }
  THORAX_CHECK(format->available(),
               "[decode] {}: is a {} file, which this build does not read; install {} and build "
               "thorax anew, or convert the file to PNG",
               name, format->name, format->package);
  THORAX_CHECK(image_place(name).frame == 0 || format->id == "dicom",
               "[decode] {}: names a frame (#{}), and the file is {}; only DICOM files have frames",
               name, image_place(name).frame, format->name);
  return *format;
}

const std::string& reader_of(const std::string& id) {
  for (const ImageFormat& format : image_formats())
    if (format.id == id) return format.reader;
  fail("[decode] there is no format '{}'", id);
}

std::string readable_formats() {
  std::vector<std::string> names;
  for (const ImageFormat& format : image_formats())
    if (format.available()) names.push_back(format.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string format_ending(const fs::path& path) {
  const std::string name = lower_name(path);
  std::string found;
  for (const ImageFormat& format : image_formats())
    for (const std::string& ending : format.endings)
      if (ending.size() > found.size() && name.size() > ending.size() && name.ends_with(ending))
        found = ending;
  return found;
}

std::string image_stem(const fs::path& path) {
  const std::string ending = format_ending(path), name = path.filename().string();
  return ending.empty() ? path.stem().string() : name.substr(0, name.size() - ending.size());
}

ImageInfo check_container(Bytes bytes, const std::string& name, const DecodeLimits& limits) {
  return require_format(bytes, name, limits).check(bytes, name, limits);
}

Samples decode_samples(Bytes bytes, const std::string& name, const DecodeLimits& limits, Use use) {
  return require_format(bytes, name, limits).decode(bytes, name, limits, use);
}

}  // namespace thorax
