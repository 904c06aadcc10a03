#include "apps/fold_files.h"

#include <charconv>
#include <cmath>

#include "data/csv.h"
#include "engine/io/atomic_file.h"
#include "engine/io/config.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

double parse_number(const CsvTable& table, std::int64_t row, int column) {
  const std::string& text = table.at(row, column);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  THORAX_CHECK(error == std::errc() && end == text.data() + text.size(),
               "[fold] {}: '{}' is no number", table.where(row), text);
  return value;
}

}  // namespace

void save_fold(const fs::path& folder, Task task, const FoldResult& result) {
  const bool segmenter = task == Task::segmenter;
  std::string csv = segmenter ? "image,patient,source,dice,iou,hausdorff95\n"
                              : "image,patient,source,label,probability\n";
  for (const Scored& row : result.scored) {
    csv += fmt::format("{},{},{},", csv_field(row.image), csv_field(row.patient),
                       csv_field(row.source));
    if (segmenter) {
      const std::string distance =
          std::isnan(row.hausdorff95) ? "" : fmt::format("{:.9g}", row.hausdorff95);
      csv += fmt::format("{:.9g},{:.9g},{}\n", row.score, row.iou, distance);
    } else {
      csv += fmt::format("{},{:.17g}\n", row.label, row.score);
    }
  }
  atomic_write(folder / "predictions.csv", csv);
  save_json(folder / "result.json", {{"task", name_of(task)},
                                     {"images", result.scored.size()},
                                     {"loss", result.loss},
                                     {"seconds", result.seconds}});
}

bool fold_finished(const fs::path& folder) {
  return fs::exists(folder / "result.json");
}

FoldResult load_fold(const fs::path& folder, Task task) {
  const fs::path path = folder / "result.json";
  const nlohmann::json json = load_json(path);
  const ConfigObject object(json, path.string());
  object.choice("task", {name_of(task)});
  FoldResult result;
  result.finished = true;
  result.loss = object.number_or("loss", std::nan(""));
  result.seconds = object.number("seconds");
  const CsvTable table = CsvTable::read(folder / "predictions.csv");
  const bool segmenter = task == Task::segmenter;
  const int image = table.column("image"), patient = table.column("patient"),
            source = table.column("source"),
            score = table.column(segmenter ? "dice" : "probability"),
            other = table.column(segmenter ? "iou" : "label"),
            distance = segmenter ? table.column("hausdorff95") : -1;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    Scored scored;
    scored.image = table.at(row, image);
    scored.patient = table.at(row, patient);
    scored.source = table.at(row, source);
    scored.score = parse_number(table, row, score);
    const double value = parse_number(table, row, other);
    THORAX_CHECK(segmenter || value == 0 || value == 1, "[fold] {}: label {} is neither 0 nor 1",
                 table.where(row), value);
    if (segmenter) {
      scored.iou = value;
      // No outline, no distance: an empty field.
      const bool none = table.at(row, distance).empty();
      scored.hausdorff95 = none ? std::nan("") : parse_number(table, row, distance);
    } else {
      scored.label = static_cast<int>(value);
    }
    result.scored.push_back(std::move(scored));
  }
  const std::int64_t images = object.integer("images", 0);
  THORAX_CHECK(images == table.rows(), "[fold] {}: has {} rows, result.json says {}", table.name(),
               table.rows(), images);
  return result;
}

fs::path fold_model(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "last.safetensors"})
    if (fs::exists(folder / name)) return folder / name;
  fail("[fold] {}: holds neither model.safetensors nor last.safetensors", folder.string());
}

}  // namespace thorax::app
