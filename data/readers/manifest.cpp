// A CSV with a row per image: path,label and, if wanted, patient, mask (two joined by ';'), source,
// finding, view, age. Paths are relative to the manifest's folder. What write_manifest writes.
#include <sstream>

#include "data/readers/readers.h"
#include "engine/io/file_name.h"
#include "engine/tensor/error.h"

namespace thorax::readers {
namespace fs = std::filesystem;

Dataset read_manifest(const SourceSpec& spec) {
  Options options(spec);
  SampleCollector collect(spec, options, "optional");
  const bool own_source = spec.options.count("source") == 0;
  options.finish();
  const CsvTable table = CsvTable::read(spec.path);
  const int path = table.column("path"), label = table.column("label");
  const int patient = table.find_column("patient"), mask = table.find_column("mask"),
            source = table.find_column("source"), finding = table.find_column("finding"),
            view = table.find_column("view"), age = table.find_column("age");
  for (const std::string& title : table.columns())
    THORAX_CHECK(title == "path" || title == "label" || title == "patient" || title == "mask" ||
                     title == "source" || title == "finding" || title == "view" || title == "age",
                 "[data] {}: column '{}' is unknown; known: path, label, patient, mask, source, "
                 "finding, view, age",
                 table.name(), title);
  const fs::path base = spec.path.parent_path();
  const auto field = [&](int64_t r, int c) {
    return c < 0 ? std::string() : trimmed(table.at(r, c));
  };
  std::map<std::string, std::string> source_of;  // by image, because the collector sets its own
  bool patients_named = patient >= 0;
  for (int64_t r = 0; r < table.rows(); ++r) {
    collect.count_row();
    THORAX_CHECK(!field(r, path).empty(), "[data] {}: path is empty", table.where(r));
    Sample s;
    s.image = (base / field(r, path)).lexically_normal();
    s.class_name = field(r, label);
    s.finding = finding >= 0 ? field(r, finding) : s.class_name;
    s.view = field(r, view);
    s.age = parse_number(field(r, age), table.where(r), "age");
    std::istringstream parts(field(r, mask));
    for (std::string part; std::getline(parts, part, ';');) {
      if (trimmed(part).empty()) continue;
      const fs::path place = (base / trimmed(part)).lexically_normal();
      THORAX_CHECK(fs::is_regular_file(place), "[data] {}: mask {} is not there", table.where(r),
                   place.string());
      s.masks.push_back(place);
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
    source_of[s.image.string()] = from;
    collect.add(std::move(s));
  }
  if (!patients_named)
    collect.note(collect.source() + ": rows without a patient count as a patient of their own");
  Dataset out = collect.finish();
  for (Sample& s : out.samples) s.source = source_of.at(s.image.string());
  return out;
}

}  // namespace thorax::readers
