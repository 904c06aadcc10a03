#include "apps/mask_files.h"

#include <fmt/format.h>

#include <array>
#include <span>
#include <utility>

#include "data/encode.h"
#include "data/formats/nifti.h"
#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

struct Row {
  const char* name;
  MaskFormat format;
  const char* ending;
};
constexpr std::array<Row, 2> kFormats{
    {{"png", MaskFormat::png, ".png"}, {"nifti", MaskFormat::nifti, ".nii.gz"}}};

}  // namespace

std::vector<std::string> mask_format_names() {
  std::vector<std::string> names;
  for (const Row& row : kFormats) names.emplace_back(row.name);
  return names;
}

MaskFormat parse_mask_format(const std::string& text) {
  for (const Row& row : kFormats)
    if (text == row.name) return row.format;
  fail("[masks] format '{}' is none of {}", text, fmt::join(mask_format_names(), ", "));
}

void save_labels(const fs::path& folder, const std::string& name, const ImageU8& labels,
                 MaskFormat format) {
  const fs::path stem = folder / name;
  create_folders(stem.parent_path());
  const std::vector<uint8_t> bytes =
      format == MaskFormat::nifti ? encode_nifti(labels) : encode_png(labels);
  for (const Row& row : kFormats)
    if (row.format == format)
      atomic_write(stem.string() + row.ending, std::as_bytes(std::span(bytes)));
    else
      fs::remove(stem.string() + row.ending);
}

void save_mask(const fs::path& folder, const std::string& name, const ImageU8& mask,
               MaskFormat format) {
  if (format == MaskFormat::png) return save_labels(folder, name, mask, format);
  ImageU8 labels = mask;
  for (uint8_t& v : labels.pixels) v = v ? 1 : 0;
  save_labels(folder, name, labels, format);
}

}  // namespace thorax::app
