#include "apps/cut_lungs.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "apps/progress.h"
#include "data/csv.h"
#include "data/decode.h"
#include "data/encode.h"
#include "data/overlay.h"
#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/io/file_lock.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> output_names(const std::vector<CutItem>& items) {
  std::vector<std::string> names;
  std::set<std::string> taken;
  for (const CutItem& item : items) {
    const std::string stem = (fs::path(item.source) / item.image.stem()).generic_string();
    std::string name = stem;
    for (int i = 2; !taken.insert(name).second; ++i) name = fmt::format("{}_{}", stem, i);
    names.push_back(name);
  }
  return names;
}

void write_csv(const CutReport& report, const fs::path& path) {
  std::string csv = "image,name,height,width,area_512,regions,kept\n";
  for (const CutRow& row : report.rows)
    csv += fmt::format("{},{},{},{},{:.0f},{},{}\n", csv_field(row.image.string()),
                       csv_field(row.name), row.height, row.width, row.area, row.regions,
                       row.kept ? 1 : 0);
  atomic_write(path, csv);
}

CutReport read_report(const fs::path& path) {
  const CsvTable table = CsvTable::read(path);
  const int image = table.column("image"), name = table.column("name"), kept = table.column("kept");
  CutReport report;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    CutRow cut;
    cut.image = table.at(row, image);
    cut.name = table.at(row, name);
    cut.kept = table.at(row, kept) == "1";
    report.rows.push_back(std::move(cut));
  }
  return report;
}

}  // namespace

CutReport cut_lungs(const LungSegmenter& segmenter, const std::vector<CutItem>& items,
                    const fs::path& out, const CutOptions& options) {
  THORAX_CHECK(!items.empty(), "[segment] no images");
  const std::vector<std::string> names = output_names(items);
  for (const char* folder : {"lungs", "masks", "overlays"}) fs::create_directories(out / folder);
  CutReport report;
  Progress progress("segment", static_cast<std::int64_t>(items.size()), "img");
  const auto save = [&](const char* folder, const std::string& name, const ImageU8& image) {
    const fs::path path = out / folder / (name + ".png");
    fs::create_directories(path.parent_path());
    save_image(path, image);
  };
  std::vector<Image> images;
  std::vector<std::size_t> indices;
  const auto flush = [&] {
    if (images.empty()) return;
    const std::vector<Lungs> lungs = segmenter(images);
    for (std::size_t i = 0; i < images.size(); ++i) {
      const CutItem& item = items[indices[i]];
      const std::string& name = names[indices[i]];
      save("masks", name, lungs[i].mask);
      if (options.overlays)
        save("overlays", name,
             overlay_mask(images[i], lungs[i].mask, lungs[i].kept ? kBlue : kVermillion));
      const fs::path cut = out / "lungs" / (name + ".png");
      if (lungs[i].kept) {
        save("lungs", name, to_u8(keep_inside(images[i], lungs[i].mask)));
      } else {
        fs::remove(cut);  // of an earlier run with another threshold
      }
      report.rows.push_back({item.image, name, images[i].height, images[i].width, lungs[i].area,
                             lungs[i].regions, lungs[i].kept});
    }
    progress.advance(static_cast<std::int64_t>(images.size()));
    images.clear();
    indices.clear();
  };
  for (std::size_t i = 0; i < items.size(); ++i) {
    try {
      images.push_back(load_gray(items[i].image));
      indices.push_back(i);
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
  return report;
}

Dataset cut_dataset(const LungSegmenter& segmenter, const Dataset& dataset, const fs::path& out,
                    const CutOptions& options) {
  std::vector<CutItem> items;
  for (const Sample& sample : dataset.samples) items.push_back({sample.image, sample.source});
  const nlohmann::json maker{{"segmenter", segmenter.checksum()},
                             {"min_area", segmenter.min_area()},
                             {"data", dataset_checksum(dataset)}};
  fs::create_directories(out);
  // Several processes of one experiment come here at the same time; the first does the work.
  const FileLock lock(out / "lock");
  const fs::path made_by = out / "made_by.json";
  CutReport report;
  if (fs::exists(made_by) && load_json(made_by) == maker) {
    report = read_report(out / "segmentation.csv");
  } else {
    fs::remove(made_by);
    report = cut_lungs(segmenter, items, out, options);
    save_json(made_by, maker);
  }
  Dataset result = dataset;
  result.samples.clear();
  FilterRule small{"segmentation",
                   fmt::format("lung area >= {:.0f} of 512 x 512 pixels", segmenter.min_area()),
                   0,
                   {}};
  FilterRule unreadable{"segmentation", "readable file", 0, {}};
  std::size_t next = 0;  // rows are in the order of the samples, without the unreadable ones
  for (const Sample& sample : dataset.samples) {
    if (next >= report.rows.size() || report.rows[next].image != sample.image) {
      ++unreadable.removed;
      unreadable.files.push_back(sample.image.string());
      continue;
    }
    const CutRow& row = report.rows[next++];
    if (!row.kept) {
      ++small.removed;
      small.files.push_back(sample.image.string());
      continue;
    }
    Sample cut = sample;
    cut.masks = {out / "masks" / (row.name + ".png")};
    result.samples.push_back(std::move(cut));
  }
  result.report.rules.push_back(std::move(small));
  if (unreadable.removed > 0) result.report.rules.push_back(std::move(unreadable));
  return result;
}

}  // namespace thorax::app
