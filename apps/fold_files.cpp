#include "apps/fold_files.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "data/csv.h"
#include "engine/io/atomic_file.h"
#include "engine/io/checksum.h"
#include "engine/io/config.h"
#include "engine/io/json_text.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

constexpr int kVersion = 2;  // 1, without checksums, did not say so

double parse_number(const CsvTable& table, std::int64_t row, int column) {
  const std::string& text = table.at(row, column);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  THORAX_CHECK(error == std::errc() && end == text.data() + text.size(),
               "[fold] {}: '{}' is no number", table.where(row), text);
  return value;
}

double parse_probability(const CsvTable& table, std::int64_t row, int column) {
  const double value = parse_number(table, row, column);
  THORAX_CHECK(value >= 0 && value <= 1, "[fold] {}: probability {} is outside of 0 to 1",
               table.where(row), table.at(row, column));
  return value;
}

std::string column_of(const std::string& class_name) {
  return "P(" + class_name + ")";
}

std::string label_column_of(const std::string& finding) {
  return "label(" + finding + ")";
}

// Of the document without its "checksum", its texts as the file has them.
std::string own_checksum(nlohmann::json document) {
  document.erase("checksum");
  Checksum sum;
  sum.add(dump_json(document));
  return sum.hex();
}

void verify(const fs::path& folder, const nlohmann::json& json, const ConfigObject& object) {
  const fs::path path = folder / "result.json";
  if (!json.contains("version")) {
    fmt::print(stderr,
               "[fold] {}: is of an earlier version, which kept no checksums: what it says of the "
               "fold is taken as it is\n",
               path.string());
    return;
  }
  object.integer("version", kVersion, kVersion);
  const auto check = [&](const fs::path& file, const std::string& wanted,
                         const std::string& found) {
    THORAX_CHECK(wanted == found,
                 "[fold] {}: is not what it was when the fold was finished (checksum {}, now {}); "
                 "bring it back, or remove {} and go on with --resume: the fold is computed again",
                 file.string(), wanted, found, path.string());
  };
  check(path, object.text("checksum"), own_checksum(json));
  const ConfigObject files = object.object("files");
  for (const auto& [name, checksum] : json.at("files").items()) {
    THORAX_CHECK(fs::path(name).filename() == name && name != "." && name != "..",
                 "[fold] {}: files: '{}' is no name of a file in the folder", path.string(), name);
    const bool there = fs::exists(folder / name);
    check(folder / name, files.text(name.c_str()),
          there ? file_checksum(folder / name) : "none: it is gone");
  }
}

// What predictions.csv has of an organ; distances and overlaps that are not defined are empty.
constexpr const char* kOrganColumns[] = {"present", "predicted", "dice", "iou", "hausdorff95"};
std::string organ_column(const char* what, const std::string& organ) {
  return fmt::format("{}({})", what, organ);
}

std::string organ_fields(const OrganScore& s) {
  const auto number = [](double value) {
    return std::isnan(value) ? std::string() : fmt::format("{:.9g}", value);
  };
  return fmt::format(",{},{},{},{},{}", s.present ? 1 : 0, s.predicted ? 1 : 0, number(s.dice),
                     number(s.iou), number(s.hausdorff95));
}

OrganScore read_organ(const CsvTable& table, std::int64_t row, const std::string& organ) {
  const auto number = [&](const char* what) {
    const int column = table.column(organ_column(what, organ));
    return table.at(row, column).empty() ? std::nan("") : parse_number(table, row, column);
  };
  return {number("present") == 1, number("predicted") == 1, number("dice"), number("iou"),
          number("hausdorff95")};
}

// One score an image, or the probabilities of several classes.
void read_scores(const CsvTable& table, bool segmenter, FoldResult& result) {
  const bool several = result.classes.size() > 2;
  std::vector<int> columns;
  if (several)
    for (const std::string& name : result.classes) columns.push_back(table.column(column_of(name)));
  const auto labels = several ? static_cast<double>(result.classes.size()) : 2.0;
  const int image = table.column("image"), patient = table.column("patient"),
            source = table.column("source"),
            score = several ? columns[0] : table.column(segmenter ? "dice" : "probability"),
            other = table.column(segmenter ? "iou" : "label"),
            distance = segmenter ? table.column("hausdorff95") : -1;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    Scored scored;
    scored.image = table.at(row, image);
    scored.patient = table.at(row, patient);
    scored.source = table.at(row, source);
    scored.score =
        segmenter ? parse_number(table, row, score) : parse_probability(table, row, score);
    const double value = parse_number(table, row, other);
    THORAX_CHECK(segmenter || (value >= 0 && value < labels && value == std::floor(value)),
                 "[fold] {}: label {} is none of 0 to {}", table.where(row), value, labels - 1);
    if (segmenter) {
      scored.iou = value;
      // No outline, no distance: an empty field.
      const bool none = table.at(row, distance).empty();
      scored.hausdorff95 = none ? std::nan("") : parse_number(table, row, distance);
      for (const std::string& organ : result.organs)
        scored.organs.push_back(read_organ(table, row, organ));
    } else {
      scored.label = static_cast<int>(value);
      if (several) scored.score = 0;
      for (const int column : columns)
        scored.probabilities.push_back(parse_probability(table, row, column));
    }
    result.scored.push_back(std::move(scored));
  }
}

// Labels and probabilities of several findings an image.
void read_findings(const CsvTable& table, FoldResult& result) {
  const int image = table.column("image"), patient = table.column("patient"),
            source = table.column("source");
  std::vector<std::pair<int, int>> columns;
  for (const std::string& name : result.classes)
    columns.emplace_back(table.column(label_column_of(name)), table.column(column_of(name)));
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    Scored scored;
    scored.image = table.at(row, image);
    scored.patient = table.at(row, patient);
    scored.source = table.at(row, source);
    for (const auto& [label, probability] : columns) {
      const std::string& text = table.at(row, label);
      THORAX_CHECK(text.empty() || text == "0" || text == "1",
                   "[fold] {}: label '{}' is none of 1, 0 and nothing", table.where(row), text);
      scored.labels.push_back(text.empty() ? std::int8_t{-1}
                                           : static_cast<std::int8_t>(text == "1"));
      scored.probabilities.push_back(parse_probability(table, row, probability));
    }
    result.scored.push_back(std::move(scored));
  }
}

}  // namespace

void save_fold(const fs::path& folder, Task task, const FoldResult& result,
               const std::string& model) {
  const bool segmenter = task == Task::segmenter;
  const bool findings = result.multilabel;
  const bool several = result.classes.size() > 2 && !findings;
  std::string csv = segmenter  ? "image,patient,source,dice,iou,hausdorff95"
                    : findings ? "image,patient,source"
                    : several  ? "image,patient,source,label"
                               : "image,patient,source,label,probability\n";
  if (several || findings) {
    for (const std::string& name : result.classes) {
      if (findings) csv += "," + csv_field(label_column_of(name));
      csv += "," + csv_field(column_of(name));
    }
    csv += "\n";
  }
  if (segmenter) {
    for (const std::string& organ : result.organs)
      for (const char* what : kOrganColumns) csv += "," + csv_field(organ_column(what, organ));
    csv += "\n";
  }
  for (const Scored& row : result.scored) {
    csv += fmt::format("{},{},{}{}", csv_field(row.image), csv_field(row.patient),
                       csv_field(row.source), findings ? "" : ",");
    if (findings) {
      for (std::size_t f = 0; f < row.labels.size(); ++f)
        csv += fmt::format(",{},{:.17g}", row.labels[f] < 0 ? "" : std::to_string(row.labels[f]),
                           row.probabilities[f]);
      csv += "\n";
    } else if (segmenter) {
      const std::string distance =
          std::isnan(row.hausdorff95) ? "" : fmt::format("{:.9g}", row.hausdorff95);
      csv += fmt::format("{:.9g},{:.9g},{}", row.score, row.iou, distance);
      for (const OrganScore& organ : row.organs) csv += organ_fields(organ);
      csv += "\n";
    } else if (several) {
      csv += fmt::format("{}", row.label);
      for (const double p : row.probabilities) csv += fmt::format(",{:.17g}", p);
      csv += "\n";
    } else {
      csv += fmt::format("{},{:.17g}\n", row.label, row.score);
    }
  }
  atomic_write(folder / "predictions.csv", csv);
  nlohmann::json json{{"version", kVersion},
                      {"task", name_of(task)},
                      {"images", result.scored.size()},
                      {"loss", result.loss}};
  // By count, because names of files depend on where the data lie; unreadable.csv has them.
  if (!result.left_out.empty()) json["left_out"] = result.left_out;
  if (!segmenter) json["classes"] = result.classes;
  if (!result.organs.empty()) json["organs"] = result.organs;
  if (findings)
    json["labels"] = "multi";
  else if (result.classes.size() == 2)
    json["positive"] = result.classes.back();
  if (const TemperatureFit& t = result.temperature; t.defined())
    json["temperature"] = {{"temperature", t.temperature}, {"images", t.images},
                           {"nll_before", t.nll_before},   {"nll_after", t.nll_after},
                           {"ece_before", t.ece_before},   {"ece_after", t.ece_after}};
  for (const std::string& name :
       {std::string("predictions.csv"), std::string("metrics.jsonl"), model})
    json["files"][name] = file_checksum(folder / name);
  json["checksum"] = own_checksum(json);
  save_json(folder / "result.json", json);
}

FoldResult load_fold(const fs::path& folder, Task task) {
  const fs::path path = folder / "result.json";
  const nlohmann::json json = load_json(path);
  const ConfigObject object(json, path.string());
  object.choice("task", {name_of(task)});
  verify(folder, json, object);
  FoldResult result;
  result.finished = true;
  result.loss = object.number_or("loss", std::nan(""));
  if (object.has("temperature")) {
    const ConfigObject t(json.at("temperature"), path.string() + ": temperature");
    result.temperature = {t.integer("images", 0), t.number("temperature"), t.number("nll_before"),
                          t.number("nll_after"),  t.number("ece_before"),  t.number("ece_after")};
  }
  const CsvTable table = CsvTable::read(folder / "predictions.csv");
  const bool segmenter = task == Task::segmenter;
  result.classes = object.texts_or("classes", {});
  result.organs = object.texts_or("organs", {});
  result.multilabel = object.choice_or("labels", "single", {"single", "multi"}) == "multi";
  if (result.multilabel) {
    read_findings(table, result);
  } else {
    read_scores(table, segmenter, result);
  }
  const std::int64_t images = object.integer("images", 0);
  THORAX_CHECK(images == table.rows(), "[fold] {}: has {} rows, result.json says {}", table.name(),
               table.rows(), images);
  return result;
}

}  // namespace thorax::app
