// The tables of the public collections, manifests, and names of files.
#include <algorithm>
#include <set>

#include "data/dataset.h"
#include "tests/fuzz/harness.h"

namespace thorax::fuzz {
namespace {

namespace fs = std::filesystem;

// A fresh folder with these (empty) files.
fs::path folder_with(const char* name, const std::vector<std::string>& files) {
  const fs::path folder = scratch() / name;
  for (const std::string& file : files) {
    fs::create_directories((folder / file).parent_path());
    write_file(folder / file, {});
  }
  return folder;
}

void check_same(const Sample& a, const Sample& b) {
  FUZZ_REQUIRE(a.id == b.id, "id '{}' is read again as '{}'", a.id, b.id);
  FUZZ_REQUIRE(a.image == b.image, "image '{}' is read again as '{}'", a.image.string(),
               b.image.string());
  FUZZ_REQUIRE(a.masks == b.masks, "{}: other masks when read again", a.id);
  FUZZ_REQUIRE(a.masks.empty() || a.mask_rule == b.mask_rule, "{}: its mask is read otherwise",
               a.id);
  FUZZ_REQUIRE(a.patient == b.patient, "patient '{}' is read again as '{}'", a.patient, b.patient);
  FUZZ_REQUIRE(a.source == b.source, "source '{}' is read again as '{}'", a.source, b.source);
  FUZZ_REQUIRE(a.finding == b.finding, "finding '{}' is read again as '{}'", a.finding, b.finding);
  FUZZ_REQUIRE(a.class_name == b.class_name && a.label == b.label,
               "class '{}' is read again as '{}'", a.class_name, b.class_name);
  FUZZ_REQUIRE(a.view == b.view, "view '{}' is read again as '{}'", a.view, b.view);
  FUZZ_REQUIRE(a.labels == b.labels, "{}: other findings when read again", a.id);
  FUZZ_REQUIRE(a.age == b.age, "{}: another age when read again", a.id);
}

// Whatever the table: no row vanishes without being counted, every sample is whole, and a manifest
// written from it is read to the same.
void check_source(const std::string& spec, std::string_view named) {
  Dataset data;
  if (!accepted(named, [&] { data = load_datasets({spec}); })) return;
  std::int64_t rows = 0, removed = 0;
  for (const SourceCount& source : data.report.sources) rows += source.rows;
  for (const FilterRule& rule : data.report.rules) {
    removed += rule.removed;
    FUZZ_REQUIRE(rule.removed == static_cast<std::int64_t>(rule.files.size()),
                 "rule '{}' removed {} and names {}", rule.name, rule.removed, rule.files.size());
  }
  const auto kept = static_cast<std::int64_t>(data.samples.size());
  FUZZ_REQUIRE(rows == kept + removed, "{} rows, {} kept, {} removed", rows, kept, removed);
  std::set<std::string> ids;
  for (const Sample& sample : data.samples) {
    FUZZ_REQUIRE(fs::is_regular_file(sample.image), "{} is not there", sample.image.string());
    FUZZ_REQUIRE(ids.insert(sample.id).second, "id '{}' is there twice", sample.id);
    FUZZ_REQUIRE(sample.patient.size() > sample.source.size() + 1 &&
                     sample.patient.starts_with(sample.source + "/"),
                 "patient '{}' of source '{}'", sample.patient, sample.source);
    FUZZ_REQUIRE(sample.label >= -1 && sample.label < static_cast<int>(data.classes.size()) &&
                     (sample.label < 0) == sample.class_name.empty(),
                 "class '{}' has label {}", sample.class_name, sample.label);
  }
  const fs::path manifest = scratch() / "again.csv";
  if (!accepted("", [&] { write_manifest(data, manifest); })) return;
  const Dataset again = load_datasets({"manifest:" + manifest.string()});
  FUZZ_REQUIRE(again.classes == data.classes && again.positive == data.positive,
               "other classes when read again");
  FUZZ_REQUIRE(again.samples.size() == data.samples.size(), "{} samples, {} when read again",
               data.samples.size(), again.samples.size());
  for (std::size_t i = 0; i < data.samples.size(); ++i)
    check_same(data.samples[i], again.samples[i]);
}

void manifest(Bytes bytes) {
  static const fs::path folder =
      folder_with("manifest", {"a.png", "b c.png", "sub/d.jpg", "sub/a.png", "m.png", "n.png"});
  write_file(folder / "manifest.csv", bytes);
  check_source("manifest:" + (folder / "manifest.csv").string(), "manifest.csv");
}
const Enter enter_manifest("manifest", {manifest});

// metadata.csv, and after a NUL byte the index of the masks.
void covid(Bytes bytes) {
  static const fs::path folder = folder_with(
      "covid", {"images/a.png", "images/b.jpg", "more/c.jpeg", "masks/a.png", "masks/deep/b.png"});
  const std::vector<std::string> parts = pieces(bytes, '\0', 2);
  write_file(folder / "metadata.csv",
             {reinterpret_cast<const std::uint8_t*>(parts[0].data()), parts[0].size()});
  std::string options;
  if (parts.size() == 2) {
    write_file(folder / "masks/index.csv",
               {reinterpret_cast<const std::uint8_t*>(parts[1].data()), parts[1].size()});
    options = ",finding=all,masks=" + (folder / "masks").string();
  }
  check_source("covid:" + folder.string() + options, folder.string());
}
const Enter enter_covid("covid", {covid});

void nih(Bytes bytes) {
  static const fs::path folder =
      folder_with("nih", {"images/00000001_000.png", "images_001/images/00000002_000.png"});
  write_file(folder / "Data_Entry_2017.csv", bytes);
  check_source("nih:" + folder.string() + ",finding=all,min_age=1", folder.string());
  check_source("nih:" + folder.string() + ",labels=multi,min_age=1", folder.string());
}
const Enter enter_nih("nih", {nih});

void chexpert(Bytes bytes) {
  static const fs::path folder =
      folder_with("chexpert", {"train/patient00001/study1/view1_frontal.jpg",
                               "train/patient00002/study1/view1_frontal.jpg"});
  write_file(folder / "train.csv", bytes);
  check_source("chexpert:" + folder.string() + ",finding=all", folder.string());
  check_source("chexpert:" + folder.string() + ",labels=multi,blank=negative,min_age=0",
               folder.string());
}
const Enter enter_chexpert("chexpert", {chexpert});

// Files of any names (between NUL bytes, at most one folder deep), read as a folder of classes and
// as a collection of the tuberculosis layout.
void names(Bytes bytes) {
  const fs::path folder = scratch() / "names";
  fs::remove_all(folder);
  fs::create_directories(folder);
  for (const std::string& piece : pieces(bytes, '\0', 6)) {
    const fs::path name(piece);
    const auto parts = std::distance(name.begin(), name.end());
    const bool plain =
        !name.empty() && name.is_relative() && parts <= 2 &&
        std::none_of(name.begin(), name.end(), [](const fs::path& part) {
          return part.empty() || part == "." || part == ".." || part.native().size() > 60;
        });
    std::error_code code;
    if (!plain) continue;
    fs::create_directories((folder / name).parent_path(), code);
    if (!code && !fs::exists(folder / name)) write_file(folder / name, {});
  }
  check_source("folder:" + folder.string(), folder.string());
  if (fs::is_directory(folder / "CXR_png"))
    check_source("shenzhen:" + folder.string() + ",mask=optional", folder.string());
}
const Enter enter_names("names", {names});

}  // namespace
}  // namespace thorax::fuzz
