#include "apps/segment_organs.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/mask_files.h"
#include "apps/progress.h"
#include "data/csv.h"
#include "data/decode.h"
#include "data/encode.h"
#include "data/formats/dicom/segmentation.h"
#include "data/image_check.h"
#include "data/organ_pictures.h"
#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/io/json_text.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

void write_csv(const OrgansReport& report, const OrganOutputs& organs, const fs::path& path) {
  std::string csv = "image,name,height,width";
  for (const std::string& organ : organs.organs)
    for (const char* what : {"pixels", "area_512", "regions"})
      csv += "," + csv_field(fmt::format("{}({})", what, organ));
  csv += ",reason\n";
  for (const OrganRow& row : report.rows) {
    csv += fmt::format("{},{},{},{}", csv_field(row.image.string()), csv_field(row.name),
                       row.height, row.width);
    for (const OrganFound& organ : row.organs)
      csv += fmt::format(",{},{:.0f},{}", organ.pixels, organ.area_512, organ.regions);
    csv += "," + csv_field(row.reason) + "\n";
  }
  atomic_write(path, csv);
}

void write_json(const OrgansReport& report, const OrganOutputs& organs, const fs::path& path) {
  nlohmann::json json = to_json(organs);
  json["colours"] = nlohmann::json::array();
  for (std::size_t k = 0; k < organs.organs.size(); ++k) {
    const Rgb c = organ_colour(k);
    json["colours"].push_back(fmt::format("#{:02x}{:02x}{:02x}", c[0], c[1], c[2]));
  }
  json["images"] = nlohmann::json::array();
  for (const OrganRow& row : report.rows) {
    nlohmann::json image{{"image", to_json_text(row.image.string())},
                         {"name", to_json_text(row.name)},
                         {"height", row.height},
                         {"width", row.width},
                         {"organs", nlohmann::json::array()}};
    for (std::size_t k = 0; k < row.organs.size(); ++k)
      image["organs"].push_back({{"organ", to_json_text(organs.organs[k])},
                                 {"pixels", row.organs[k].pixels},
                                 {"area_512", row.organs[k].area_512},
                                 {"regions", row.organs[k].regions}});
    if (!row.reason.empty()) image["reason"] = to_json_text(row.reason);
    json["images"].push_back(std::move(image));
  }
  save_json(path, json);
}

void save_overlay(const fs::path& path, const ImageU8& picture) {
  create_folders(path.parent_path());
  save_image(path, picture);
}

}  // namespace

OrgansReport segment_organs(const OrganSegmenter& segmenter, const std::vector<CutItem>& items,
                            const fs::path& out, const CutOptions& options) {
  THORAX_CHECK(!items.empty(), "[segment] no images");
  if (options.dicom_seg)
    for (const CutItem& item : items) require_dicom_source(item.image);
  const OrganOutputs& organs = segmenter.organs();
  const std::vector<std::string> names = output_names(items);
  std::vector<std::string> folders{"overlays"};
  if (organs.softmax)
    folders.emplace_back("labels");
  else
    for (const std::string& organ : organs.organs) folders.push_back("masks/" + organ);
  for (const std::string& folder : folders) {
    create_folders(out / folder);
    remove_leftovers(out / folder);
  }
  if (fs::is_directory(out / "segmentations")) remove_leftovers(out / "segmentations");
  for (const char* file : {"segmentation.csv", "segmentation.json"})
    remove_leftovers_of(out / file);
  OrgansReport report;
  Progress progress("segment", static_cast<std::int64_t>(items.size()), "img");
  ReadingNotes notes;
  std::vector<Radiograph> images;
  std::vector<std::size_t> indices;
  const auto flush = [&] {
    if (images.empty()) return;
    std::vector<std::vector<OrganFound>> found = segmenter(images);
    for (std::size_t i = 0; i < images.size(); ++i) {
      const std::string& name = names[indices[i]];
      const Radiograph& image = images[i];
      if (organs.softmax)
        save_labels(out / "labels", name, label_map(found[i], organs), options.masks);
      if (options.dicom_seg) {
        std::vector<DicomSegment> segments;
        for (std::size_t k = 0; k < found[i].size(); ++k)
          segments.push_back({organs.organs[k], found[i][k].mask});
        const fs::path file = out / "segmentations" / (name + ".dcm");
        create_folders(file.parent_path());
        if (image.blank.empty())
          write_dicom_segmentation(items[indices[i]].image, segments, segmenter.checksum(), file);
        else
          fs::remove(file);  // of an earlier run
      }
      std::vector<ImageU8> masks;
      for (std::size_t k = 0; k < found[i].size(); ++k) {
        if (!organs.softmax)
          save_mask(out / "masks" / organs.organs[k], name, found[i][k].mask, options.masks);
        masks.push_back(std::move(found[i][k].mask));
      }
      if (options.overlays)
        save_overlay(out / "overlays" / (name + ".png"),
                     with_legend(overlay_organs(image.gray, masks), organs.organs));
      report.rows.push_back({items[indices[i]].image, name, image.gray.height, image.gray.width,
                             std::move(found[i]), image.blank_text()});
    }
    progress.advance(static_cast<std::int64_t>(images.size()));
    images.clear();
    indices.clear();
  };
  for (std::size_t i = 0; i < items.size(); ++i) {
    try {
      images.push_back(read_radiograph(items[i].image, segmenter.intensity()));
      indices.push_back(i);
      for (const std::string& note : images.back().notes) notes.add(note, items[i].image);
    } catch (const Error& error) {
      if (!options.skip_unreadable) throw;
      report.unreadable.push_back(error.what());
      fmt::print(stderr, "skipped: {}\n", error.what());
      progress.advance(1);
    }
    if (static_cast<int>(images.size()) == options.batch) flush();
  }
  flush();
  write_csv(report, organs, out / "segmentation.csv");
  write_json(report, organs, out / "segmentation.json");
  for (const std::string& line : notes.lines()) fmt::print(stderr, "note: {}\n", line);
  write_unreadable(report.unreadable, out);
  return report;
}

}  // namespace thorax::app
