// A CSV with a row per image: path,label and, if wanted, patient, mask (two joined by ';'),
// mask_values, source, finding, view, age, positive (the name of the positive class, the same in
// every row or empty), organs (what the values of a label map are) or, in place of mask, mask_NAME
// for the masks of one organ. Instead of `label`, columns label:NAME say of each finding whether an
// image has it: 1, 0, -1 (uncertain) or empty. Paths are relative to the manifest's folder. What
// write_manifest writes.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <sstream>

#include "data/classes.h"
#include "data/multilabel.h"
#include "data/readers/finding_labels.h"
#include "data/readers/readers.h"
#include "engine/io/file_name.h"
#include "engine/tensor/error.h"

namespace thorax::readers {
namespace fs = std::filesystem;
namespace {

// Either every row has a label or none has; no image has two. Returns whether they have.
bool check_labels(const CsvTable& table, const fs::path& base, bool overridden) {
  const int path = table.column("path"), label = table.column("label");
  if (overridden) return true;
  std::map<std::string, int64_t> row_of;
  int64_t empty = 0, first_empty = -1;
  for (int64_t r = 0; r < table.rows(); ++r) {
    if (trimmed(table.at(r, label)).empty() && empty++ == 0) first_empty = r;
    const std::string image = (base / trimmed(table.at(r, path))).lexically_normal().string();
    const auto [place, fresh] = row_of.emplace(image, r);
    if (fresh) continue;
    const std::string one = trimmed(table.at(place->second, label)),
                      other = trimmed(table.at(r, label));
    THORAX_CHECK(same_class(one, other),
                 "[data] {} and {}: image '{}' has two labels, '{}' and '{}'; an image has one; "
                 "remove one of the rows",
                 table.where(place->second), table.where(r), trimmed(table.at(r, path)), one,
                 other);
  }
  THORAX_CHECK(
      empty == 0 || empty == table.rows(),
      "[data] {}: the label is empty, as in {} of {} rows; either all rows have one or none "
      "has; give a label, remove the row, or give class=NAME",
      table.where(first_empty), empty, table.rows());
  return empty == 0;
}

const std::string kMark = "label:";

// The findings that columns label:NAME name, in their order.
std::vector<std::string> findings_of(const CsvTable& table) {
  std::vector<std::string> names;
  for (const std::string& title : table.columns()) {
    if (!title.starts_with(kMark)) continue;
    const std::string name = title.substr(kMark.size());
    THORAX_CHECK(!name.empty() && trimmed(name) == name,
                 "[data] {}: column '{}': the finding's name follows the colon, without blanks "
                 "around it",
                 table.name(), title);
    for (const std::string& other : names)
      THORAX_CHECK(!same_class(name, other), "[data] {}: columns '{}{}' and '{}' are one finding",
                   table.name(), kMark, other, title);
    names.push_back(name);
  }
  THORAX_CHECK(names.empty() || table.find_column("label") < 0,
               "[data] {}: has a column 'label', one class an image, and '{}{}', one of several "
               "findings; remove one of them",
               table.name(), kMark, names.front());
  return names;
}

// Two rows for one image say the same of its findings.
void check_same_findings(const CsvTable& table, const std::vector<int>& columns) {
  const int path = table.column("path");
  std::map<std::string, std::int64_t> row_of;
  for (std::int64_t r = 0; r < table.rows(); ++r) {
    const auto [place, fresh] =
        row_of.emplace(fs::path(trimmed(table.at(r, path))).lexically_normal().string(), r);
    if (fresh) continue;
    for (const int c : columns)
      THORAX_CHECK(trimmed(table.at(place->second, c)) == trimmed(table.at(r, c)),
                   "[data] {} and {}: image '{}' has '{}' and '{}' as {}; remove one of the rows",
                   table.where(place->second), table.where(r), trimmed(table.at(r, path)),
                   trimmed(table.at(place->second, c)), trimmed(table.at(r, c)),
                   table.columns()[static_cast<std::size_t>(c)]);
  }
}

// The row's masks of organs: a column for each, or one label map and what its values are.
void read_organs(Sample& s, const std::vector<std::pair<std::string, int>>& columns,
                 const std::function<std::vector<fs::path>(int)>& files_in,
                 const std::string& stated, const std::string& where) {
  std::string found, lacking;
  for (const auto& [name, column] : columns) {
    const std::vector<fs::path> files = files_in(column);
    (files.empty() ? lacking : found) = name;
    if (files.empty()) continue;
    THORAX_CHECK(s.masks.empty() || !s.organs.empty(),
                 "[data] {}: has a file in mask and one in mask_{}; give one of them", where, name);
    add_organ(s, name, files);
  }
  THORAX_CHECK(found.empty() || lacking.empty(),
               "[data] {}: has a mask of {} and none of {}: unknown, or not in the image? An organ "
               "that is not there has a mask of zeros; of a row whose organs are unknown leave all "
               "mask columns empty",
               where, found, lacking);
  if (stated.empty()) return;
  try {
    state_organs(s, parse_organs(stated), "manifest");
  } catch (const Error& e) {
    fail("[data] {}: {}", where, e.what());
  }
}

}  // namespace

Dataset read_manifest(const SourceSpec& spec) {
  Options options(spec);
  SampleCollector collect(spec, options, "optional");
  const bool own_source = spec.options.count("source") == 0;
  const CsvTable table = CsvTable::read(spec.path);
  const std::vector<std::string> findings = findings_of(table);
  FindingLabels labels(spec, options, !findings.empty());
  options.finish();
  THORAX_CHECK(!labels.several() || !findings.empty(),
               "[data] {}: is to be read as several findings an image and has no column "
               "label:NAME; columns: {}",
               table.name(), fmt::join(table.columns(), ", "));
  std::vector<int> columns;
  if (labels.several())
    for (const std::string& name : labels.choose(findings))
      columns.push_back(table.column(kMark + name));
  const int path = table.column("path"), label = labels.several() ? -1 : table.column("label");
  const int patient = table.find_column("patient"), mask = table.find_column("mask"),
            mask_values = table.find_column("mask_values"), source = table.find_column("source"),
            finding = table.find_column("finding"), view = table.find_column("view"),
            age = table.find_column("age"), positive = table.find_column("positive");
  const int organs = table.find_column("organs");
  constexpr std::array kColumns{"path",    "label", "patient", "mask",     "mask_values", "source",
                                "finding", "view",  "age",     "positive", "organs"};
  std::vector<std::pair<std::string, int>> organ_columns;
  for (const std::string& title : table.columns()) {
    if (title.starts_with(kMark) ||
        std::find(kColumns.begin(), kColumns.end(), title) != kColumns.end())
      continue;
    THORAX_CHECK(
        title.rfind("mask_", 0) == 0 && title.size() > 5,
        "[data] {}: column '{}' is unknown; known: {}, label:NAME for a finding, and mask_NAME for "
        "the masks of an organ",
        table.name(), title, fmt::join(kColumns, ", "));
    OrganMasks organ;
    try {
      organ = parse_organs(title.substr(5));
    } catch (const Error& e) {
      fail("[data] {}: a column mask_NAME: {}", table.name(), e.what());
    }
    THORAX_CHECK(organ.organs.size() == 1 && !organ.label_map,
                 "[data] {}: column '{}': mask_ is followed by the name of one organ", table.name(),
                 title);
    organ_columns.emplace_back(organ.organs.front().name, table.column(title));
  }
  const fs::path base = spec.path.parent_path();
  const auto field = [&](int64_t r, int c) {
    return c < 0 ? std::string() : trimmed(table.at(r, c));
  };
  std::map<std::string, std::string> source_of;  // by image, because the collector sets its own
  bool patients_named = patient >= 0;
  const bool has_classes =
      labels.several() || check_labels(table, base, spec.options.contains("class"));
  if (labels.several()) {
    check_same_findings(table, columns);
    collect.declare(kRuleKnown);
    THORAX_CHECK(positive < 0,
                 "[data] {}: column 'positive' is for one class an image; remove it beside {}{}",
                 table.name(), kMark, findings.front());
  }
  std::string stated, stated_where;
  for (int64_t r = 0; r < table.rows(); ++r) {
    collect.count_row();
    if (const std::string name = field(r, positive); !name.empty()) {
      THORAX_CHECK(stated.empty() || same_class(stated, name),
                   "[data] {} and {}: two positive classes, {} and {}; one is wanted", stated_where,
                   table.where(r), stated, name);
      if (stated.empty()) stated_where = table.where(r);
      stated = name;
    }
    THORAX_CHECK(!field(r, path).empty(), "[data] {}: path is empty", table.where(r));
    Sample s;
    s.image = (base / field(r, path)).lexically_normal();
    s.class_name = field(r, label);
    for (std::size_t f = 0; f < columns.size(); ++f)
      s.labels.push_back(labels.read(table.at(r, columns[f]), table.where(r), labels.chosen()[f]));
    if (labels.several() && !collect.passes(kRuleKnown, any_known(s.labels), s.image.string()))
      continue;
    s.finding = finding >= 0       ? field(r, finding)
                : labels.several() ? positive_findings(labels.chosen(), s.labels)
                                   : s.class_name;
    s.view = field(r, view);
    s.age = collect.age(field(r, age), table.where(r));
    const auto files_in = [&](int column) {
      std::vector<fs::path> files;
      std::istringstream parts(field(r, column));
      for (std::string part; std::getline(parts, part, ';');) {
        if (trimmed(part).empty()) continue;
        const fs::path place = (base / trimmed(part)).lexically_normal();
        THORAX_CHECK(fs::is_regular_file(place), "[data] {}: mask {} is not there", table.where(r),
                     place.string());
        files.push_back(place);
      }
      return files;
    };
    s.masks = files_in(mask);
    read_organs(s, organ_columns, files_in, field(r, organs), table.where(r));
    if (!field(r, mask_values).empty()) try {
        s.mask_rule = parse_mask_rule(field(r, mask_values));
      } catch (const Error& e) {
        fail("[data] {}: {}", table.where(r), e.what());
      }
    // Outputs of an image lie in a folder of its source's name.
    const std::string from = own_source && !field(r, source).empty()
                                 ? FileName(field(r, source), table.where(r) + ": source").text()
                                 : collect.source();
    const std::string id = field(r, patient);
    patients_named = patients_named && !id.empty();
    if (id.rfind(from + "/", 0) == 0)
      s.patient = id;
    else
      s.patient =
          from + "/" +
          (id.empty() ? "file " + fs::path(field(r, path)).lexically_normal().string() : id);
    source_of.emplace(s.image.string(), from);  // of rows for one image, the first counts
    collect.add(std::move(s));
  }
  if (!patients_named)
    collect.note(collect.source() + ": rows without a patient count as a patient of their own");
  if (!has_classes)
    collect.note(collect.source() +
                 ": no row has a label; a segmenter can learn from it, a classifier "
                 "needs class=NAME");
  labels.add_notes(collect);
  Dataset out = collect.finish();
  if (labels.several()) out = labelled(std::move(out), labels);
  if (out.stated_positive.empty()) out.stated_positive = stated;
  for (Sample& s : out.samples) s.source = source_of.at(s.image.string());
  return out;
}

}  // namespace thorax::readers
