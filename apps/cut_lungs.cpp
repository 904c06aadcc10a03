#include "apps/cut_lungs.h"

#include <fmt/format.h>

#include <map>
#include <new>
#include <optional>
#include <set>

#include "apps/progress.h"
#include "data/csv.h"
#include "data/decode.h"
#include "data/encode.h"
#include "data/formats/dicom/segmentation.h"
#include "data/formats/format.h"
#include "data/image_check.h"
#include "data/overlay.h"
#include "engine/io/atomic_file.h"
#include "engine/io/checksum.h"
#include "engine/io/config.h"
#include "engine/io/file_lock.h"
#include "engine/io/file_name.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

void write_csv(const CutReport& report, const fs::path& path) {
  std::string csv = "image,name,height,width,area_512,regions,kept,reason\n";
  for (const CutRow& row : report.rows)
    csv += fmt::format("{},{},{},{},{:.0f},{},{},{}\n", csv_field(row.image.string()),
                       csv_field(row.name), row.height, row.width, row.area, row.regions,
                       row.kept ? 1 : 0, csv_field(row.reason));
  atomic_write(path, csv);
}

// A power loss does not bring it back.
void remove_for_good(const fs::path& file) {
  if (fs::remove(file)) sync_folder(file.parent_path());
}

// Of the masks' contents and names.
std::string masks_checksum(const CutReport& report, const fs::path& out) {
  Checksum sum;
  for (const CutRow& row : report.rows) {
    sum.add(row.name);
    sum.add(file_checksum(out / "masks" / (row.name + ".png")));
  }
  return sum.hex();
}

constexpr int kVersion = 2;  // of made_by.json; 1, without rows, did not say so

// What was made, and of what: by image, so that it can be found again wherever the images lie.
nlohmann::json describe(const CutReport& report, const nlohmann::json& maker, const fs::path& out) {
  nlohmann::json made{{"version", kVersion},
                      {"maker", maker},
                      {"masks", masks_checksum(report, out)},
                      {"rows", nlohmann::json::array()}};
  for (const CutRow& row : report.rows)
    made["rows"].push_back({{"image", row.id}, {"name", row.name}, {"kept", row.kept}});
  return made;
}

// What the folder holds; nothing, with a line on stderr, when it is to be made again.
std::optional<CutReport> read_made(const fs::path& out, const nlohmann::json& maker) {
  const fs::path made_by = out / "made_by.json";
  if (!fs::exists(made_by)) return std::nullopt;
  try {
    const nlohmann::json made = load_json(made_by);
    const ConfigObject object(made, made_by.string());
    THORAX_CHECK(made.contains("version"), "[segment] {}: is of an earlier version",
                 made_by.string());
    object.integer("version", kVersion, kVersion);
    THORAX_CHECK(made.at("maker") == maker,
                 "[segment] {}: was made by another segmenter or of other images",
                 made_by.string());
    CutReport report;
    for (const ConfigObject& row : object.objects("rows")) {
      CutRow cut;
      cut.id = row.text("image");
      cut.name = row.text("name");
      for (const fs::path& part : fs::path(cut.name)) FileName(part.string(), made_by.string());
      cut.kept = row.boolean("kept");
      report.rows.push_back(std::move(cut));
    }
    THORAX_CHECK(object.text("masks") == masks_checksum(report, out),
                 "[segment] {}: a mask has changed since", made_by.string());
    return report;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& problem) {
    fmt::print(stderr, "{}; the lungs are cut out again\n", problem.what());
    return std::nullopt;
  }
}

}  // namespace

std::vector<std::string> output_names(const std::vector<CutItem>& items) {
  std::vector<std::string> names;
  std::set<std::string> taken;
  for (const CutItem& item : items) {
    std::string stem = output_name(image_stem(item.image)).text();
    if (!item.source.empty())
      stem = FileName(item.source, "source of " + item.image.string()).text() + "/" + stem;
    std::string name = stem;
    for (int i = 2; !taken.insert(name).second; ++i) name = fmt::format("{}_{}", stem, i);
    names.push_back(name);
  }
  return names;
}

void write_unreadable(const std::vector<std::string>& reasons, const fs::path& out) {
  // Beside the results, so that who reads only these sees what is lacking.
  if (reasons.empty()) {
    remove_for_good(out / "unreadable.csv");
    return;
  }
  std::string csv = csv_line({"reason"});
  for (const std::string& reason : reasons) csv += csv_line({reason});
  atomic_write(out / "unreadable.csv", csv);
}

CutReport cut_lungs(const LungSegmenter& segmenter, const std::vector<CutItem>& items,
                    const fs::path& out, const CutOptions& options) {
  THORAX_CHECK(!items.empty(), "[segment] no images");
  if (options.dicom_seg)
    for (const CutItem& item : items) require_dicom_source(item.image);
  const std::vector<std::string> names = output_names(items);
  for (const char* folder : {"lungs", "masks", "overlays"}) create_folders(out / folder);
  for (const char* folder : {"lungs", "masks", "overlays"}) remove_leftovers(out / folder);
  if (fs::is_directory(out / "segmentations")) remove_leftovers(out / "segmentations");
  remove_leftovers_of(out / "segmentation.csv");
  CutReport report;
  Progress progress("segment", static_cast<std::int64_t>(items.size()), "img");
  const auto save = [&](const char* folder, const std::string& name, const ImageU8& image) {
    const fs::path path = out / folder / (name + ".png");
    create_folders(path.parent_path());
    save_image(path, image);
  };
  std::vector<Radiograph> images;
  std::vector<std::size_t> indices;
  ReadingNotes notes;
  const auto flush = [&] {
    if (images.empty()) return;
    const std::vector<Lungs> lungs = segmenter(images);
    for (std::size_t i = 0; i < images.size(); ++i) {
      const CutItem& item = items[indices[i]];
      const std::string& name = names[indices[i]];
      const Image& gray = images[i].gray;
      save_mask(out / "masks", name, lungs[i].mask, options.masks);
      if (options.overlays)
        save("overlays", name,
             overlay_mask(gray, lungs[i].mask, lungs[i].kept ? kBlue : kVermillion));
      const fs::path cut = out / "lungs" / (name + ".png");
      if (lungs[i].kept) {
        save("lungs", name, to_u8(keep_inside(gray, lungs[i].mask)));
      } else {
        remove_for_good(cut);  // of an earlier run with another threshold
      }
      if (options.dicom_seg) {
        const fs::path file = out / "segmentations" / (name + ".dcm");
        create_folders(file.parent_path());
        if (lungs[i].kept)
          write_dicom_segmentation(item.image, {{"lungs", lungs[i].mask}}, segmenter.checksum(),
                                   file);
        else
          fs::remove(file);
      }
      report.rows.push_back({item.image, item.id, name, gray.height, gray.width, lungs[i].area,
                             lungs[i].regions, lungs[i].kept, lungs[i].reason});
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
  write_csv(report, out / "segmentation.csv");
  for (const std::string& line : notes.lines()) fmt::print(stderr, "note: {}\n", line);
  write_unreadable(report.unreadable, out);
  return report;
}

Dataset cut_dataset(const LungSegmenter& segmenter, const Dataset& dataset,
                    const std::string& checksum, const fs::path& out, const CutOptions& options) {
  std::vector<CutItem> items;
  for (const Sample& sample : dataset.samples)
    items.push_back({sample.image, sample.source, sample.id});
  nlohmann::json maker{{"segmenter", segmenter.checksum()},
                       {"min_area", segmenter.min_area()},
                       {"intensity", name_of(segmenter.intensity())},
                       {"data", checksum}};
  // Its last bits may move a lung's edge; the default reader is not named, as before there was a
  // choice.
  if (reader_of("jpeg") != "stb_image") maker["jpeg_reader"] = reader_of("jpeg");
  create_folders(out);
  // Several processes of one experiment come here at the same time; the first does the work.
  const FileLock lock(out / "lock");
  std::optional<CutReport> report = read_made(out, maker);
  if (!report) {
    remove_for_good(out / "made_by.json");
    report = cut_lungs(segmenter, items, out, options);
    save_json(out / "made_by.json", describe(*report, maker, out));
  }
  std::map<std::string, const CutRow*> rows;
  for (const CutRow& row : report->rows) rows[row.id] = &row;
  Dataset result = dataset;
  result.samples.clear();
  FilterRule small{"segmentation",
                   fmt::format("lung area >= {:.0f} of 512 x 512 pixels", segmenter.min_area()),
                   0,
                   {}};
  FilterRule unreadable{"segmentation", "readable file", 0, {}};
  for (const Sample& sample : dataset.samples) {
    const auto found = rows.find(sample.id);
    if (found == rows.end()) {
      ++unreadable.removed;
      unreadable.files.push_back(sample.image.string());
      continue;
    }
    const CutRow& row = *found->second;
    if (!row.kept) {
      ++small.removed;
      small.files.push_back(sample.image.string());
      continue;
    }
    Sample cut = sample;
    cut.masks = {out / "masks" / (row.name + ".png")};
    cut.mask_rule = parse_mask_rule("nonzero");
    cut.organs = {};  // the data's own masks, which may be of several, are not used
    result.samples.push_back(std::move(cut));
  }
  result.report.rules.push_back(std::move(small));
  if (unreadable.removed > 0) result.report.rules.push_back(std::move(unreadable));
  return result;
}

}  // namespace thorax::app
