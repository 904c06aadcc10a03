// Wang X et al.: ChestX-ray8, CVPR 2017. Data_Entry_2017_v2020.csv (before: Data_Entry_2017.csv)
// has a row per image; the images lie in images/ or, as NIH ships them, in images_001/images ...
// images_012/images. The header's bracketed names hold commas and so split into as many fields as
// the rows have.
#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <unordered_map>

#include "data/multilabel.h"
#include "data/readers/finding_labels.h"
#include "data/readers/readers.h"
#include "engine/tensor/error.h"

namespace thorax::readers {
namespace fs = std::filesystem;
namespace {

// The collection's findings, as its tables spell them. "No Finding" stands alone and says that none
// of them is there; every image's labels are complete.
const std::vector<std::string> kFindings{
    "Atelectasis", "Cardiomegaly", "Effusion",           "Infiltration",  "Mass",
    "Nodule",      "Pneumonia",    "Pneumothorax",       "Consolidation", "Edema",
    "Emphysema",   "Fibrosis",     "Pleural_Thickening", "Hernia"};
constexpr const char* kNone = "No Finding";

// For each of `findings` whether "Mass|Nodule" names it.
std::vector<std::int8_t> labels_of(const std::string& text,
                                   const std::vector<std::string>& findings,
                                   const std::string& where) {
  std::vector<std::string> named;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, '|');) {
    named.push_back(trimmed(part));
    THORAX_CHECK(named.back() == kNone ||
                     std::find(kFindings.begin(), kFindings.end(), named.back()) != kFindings.end(),
                 "[data] {}: Finding Labels '{}': '{}' is none of: {}, {}", where, text,
                 named.back(), kNone, fmt::join(kFindings, ", "));
  }
  const auto has = [&](const std::string& name) {
    return std::find(named.begin(), named.end(), name) != named.end();
  };
  THORAX_CHECK(!named.empty(), "[data] {}: Finding Labels is empty; without findings it is '{}'",
               where, kNone);
  THORAX_CHECK(!has(kNone) || named.size() == 1,
               "[data] {}: Finding Labels '{}': '{}' stands beside a finding", where, text, kNone);
  std::vector<std::int8_t> labels;
  for (const std::string& finding : findings)
    labels.push_back(has(finding) ? kPositiveLabel : kNegativeLabel);
  return labels;
}

std::unordered_map<std::string, fs::path> find_images(const fs::path& root,
                                                      SampleCollector& collect) {
  std::vector<fs::path> folders;
  if (fs::is_directory(root / "images")) folders.push_back(root / "images");
  for (const auto& entry : fs::directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("images_", 0) == 0 && fs::is_directory(entry.path() / "images"))
      folders.push_back(entry.path() / "images");
  }
  THORAX_CHECK(!folders.empty(), "[data] nih: {}: neither images/ nor images_*/images/ is there",
               root.string());
  std::unordered_map<std::string, fs::path> out;
  std::sort(folders.begin(), folders.end());
  for (const fs::path& folder : folders) {
    const FolderFiles files = files_in(folder, Depth::one);
    for (const fs::path& image : files.images) out.emplace(image.filename().string(), image);
    for (const std::string& text : left_out_notes(files))
      collect.note(fmt::format("{}: {}", collect.source(), text));
  }
  return out;
}

// The table under its present name or the one before.
fs::path find_table(const fs::path& root, SampleCollector& collect) {
  const fs::path now = root / "Data_Entry_2017_v2020.csv", before = root / "Data_Entry_2017.csv";
  const bool both = fs::exists(now) && fs::exists(before);
  if (both)
    collect.note(fmt::format("{}: {} is read, {} is not", collect.source(), now.filename().string(),
                             before.filename().string()));
  THORAX_CHECK(fs::exists(now) || fs::exists(before), "[data] nih: {}: neither {} nor {} is there",
               root.string(), now.filename().string(), before.filename().string());
  return fs::exists(now) ? now : before;
}

}  // namespace

Dataset read_nih(const SourceSpec& spec) {
  Options options(spec);
  SampleCollector collect(spec, options, "optional");
  const std::string wanted = options.text("finding", "No Finding");
  const double min_age = options.number("min_age").value_or(18);
  FindingLabels labels(spec, options, false);
  options.finish();
  for (const char* key : {"uncertain", "blank"})
    THORAX_CHECK(!spec.options.contains(key),
                 "[data] nih: {}={}: the collection's labels are complete, there is nothing to "
                 "choose",
                 key, spec.options.at(key));
  if (labels.several()) {
    std::vector<std::string> known = kFindings;
    if (spec.options.contains("findings")) known.emplace_back(kNone);
    labels.choose(known);
  }
  require_folder(spec.kind, spec.path);

  const CsvTable table = CsvTable::read(find_table(spec.path, collect));
  const int file = table.column("Image Index"), finding = table.column("Finding Labels"),
            patient = table.column("Patient ID"), age = table.column("Patient Age"),
            view = table.column("View Position");
  const auto images = find_images(spec.path, collect);

  const std::string rule_finding = "finding " + wanted;
  const std::string rule_age = fmt::format("age >= {}", min_age);
  const std::string rule_view = "view PA or AP";
  const bool filter = wanted != "all" && !labels.several();
  if (filter) collect.declare(rule_finding);
  collect.declare(rule_age);
  collect.declare(rule_view);
  for (int64_t r = 0; r < table.rows(); ++r) {
    collect.count_row();
    const std::string& name = table.at(r, file);
    THORAX_CHECK(!name.empty(), "[data] {}: Image Index is empty", table.where(r));
    const std::string& f = table.at(r, finding);
    if (filter && !collect.passes(rule_finding, f == wanted, name)) continue;
    Sample s;
    s.age = collect.age(table.at(r, age), table.where(r));
    if (!collect.passes(rule_age, min_age <= 0 || (s.age && *s.age >= min_age), name)) continue;
    s.view = trimmed(table.at(r, view));
    if (!collect.passes(rule_view, s.view == "PA" || s.view == "AP", name)) continue;
    const auto found = images.find(name);
    s.image = found != images.end() ? found->second : spec.path / "images" / name;
    s.patient = collect.patient(trimmed(table.at(r, patient)), name);
    s.finding = f;
    if (labels.several())
      s.labels = labels_of(f, labels.chosen(), table.where(r));
    else
      s.class_name = "non-COVID";
    collect.add(std::move(s));
  }
  return labels.several() ? labelled(collect.finish(), labels) : collect.finish();
}

}  // namespace thorax::readers
