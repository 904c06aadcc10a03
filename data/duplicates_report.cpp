#include "data/duplicates_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/csv.h"
#include "data/decode.h"
#include "data/draw.h"
#include "data/multilabel.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

// The class, or of several findings an image those that are there: "Edema|Mass".
std::string name_of_class(const Dataset& dataset, const Sample& sample) {
  return dataset.multilabel ? positive_findings(dataset.classes, sample.labels) : sample.class_name;
}

std::string class_of(const Dataset& dataset, const Sample& sample) {
  const std::string name = name_of_class(dataset, sample);
  if (!name.empty()) return name;
  return dataset.multilabel ? "no finding" : "unlabelled";
}

std::string fold_of(const DuplicateTable& table, std::size_t sample) {
  const int fold = table.held_out.empty() ? -1 : table.held_out[sample];
  return fold < 0 ? std::string() : std::to_string(fold);
}

std::int64_t count(const DuplicateTable& table, bool (*which)(const DuplicatePair&)) {
  return std::count_if(table.report.pairs.begin(), table.report.pairs.end(), which);
}
std::int64_t crossing(const DuplicateTable& table) {
  return std::count_if(table.report.pairs.begin(), table.report.pairs.end(),
                       [&](const DuplicatePair& pair) { return table.crosses_folds(pair); });
}

}  // namespace

bool DuplicateTable::crosses_folds(const DuplicatePair& pair) const {
  return !held_out.empty() && held_out[pair.a] != held_out[pair.b];
}

std::string describe(const Registration& r) {
  // A tenth of a percent is the search's last step.
  constexpr double kSame = 0.004;
  std::string text = r.mirrored ? "mirrored, " : "";
  if (r.inverted) text += "inverted, ";
  const double most = std::max({std::abs(r.left), std::abs(r.top), std::abs(r.right - 1),
                                std::abs(r.bottom - 1), std::abs(r.skew_x), std::abs(r.skew_y)});
  if (most < kSame) return text + "the same frame";
  text += fmt::format("{:.0f} x {:.0f} % of b at {:+.0f}, {:+.0f} %", 100 * (r.right - r.left),
                      100 * (r.bottom - r.top), 100 * r.left, 100 * r.top);
  if (std::max(std::abs(r.skew_x), std::abs(r.skew_y)) >= kSame)
    text += fmt::format(", turned {:.1f} deg", 90 / M_PI * (r.skew_y - r.skew_x));
  return text;
}

std::string duplicates_text(const DuplicateTable& table) {
  const DuplicateReport& report = table.report;
  std::string text = fmt::format("{} images, {} pairs show the same radiograph\n", report.images,
                                 report.pairs.size());
  if (!report.unreadable.empty())
    text += fmt::format("{} images could not be read\n", report.unreadable.size());
  if (report.pairs.empty()) return text;
  text += fmt::format("correlation  {}  pair\n", table.held_out.empty() ? "" : "folds  ");
  for (const DuplicatePair& pair : report.pairs) {
    const Sample &a = table.dataset.samples[pair.a], &b = table.dataset.samples[pair.b];
    std::string folds;
    if (!table.held_out.empty())
      folds = fmt::format("{:>2} {:>2}{}  ", fold_of(table, pair.a), fold_of(table, pair.b),
                          table.crosses_folds(pair) ? "!" : " ");
    text += fmt::format("{:>11.3f}  {}{} | {}\n", pair.correlation, folds,
                        a.image.filename().string(), b.image.filename().string());
    text += fmt::format(
        "{:>11}  {}{}; {}; {}\n", "", std::string(folds.size(), ' '),
        pair.same_patient ? "patient " + a.patient
                          : fmt::format("TWO PATIENTS {} and {}", a.patient, b.patient),
        pair.same_class ? class_of(table.dataset, a)
                        : fmt::format("{} {} and {}",
                                      table.dataset.multilabel ? "OTHER FINDINGS" : "TWO CLASSES",
                                      class_of(table.dataset, a), class_of(table.dataset, b)),
        describe(pair.registration));
  }
  const auto two_patients = [](const DuplicatePair& pair) { return !pair.same_patient; };
  const auto two_classes = [](const DuplicatePair& pair) { return !pair.same_class; };
  text += fmt::format("{} pairs under two patient ids, {} {}", count(table, two_patients),
                      count(table, two_classes),
                      table.dataset.multilabel ? "with other findings" : "in two classes");
  if (!table.held_out.empty()) text += fmt::format(", {} on both sides of a fold", crossing(table));
  return text + "\n";
}

std::string duplicates_csv(const DuplicateTable& table) {
  std::string csv =
      "image_a,image_b,correlation,patient_a,patient_b,same_patient,class_a,class_b,same_class,"
      "left,"
      "top,right,bottom,skew_x,skew_y,mirrored,inverted,overlap,fold_a,fold_b\n";
  for (const DuplicatePair& pair : table.report.pairs) {
    const Sample &a = table.dataset.samples[pair.a], &b = table.dataset.samples[pair.b];
    const Registration& r = pair.registration;
    csv += fmt::format(
        "{},{},{:.6f},{},{},{},{},{},{},{:.5f},{:.5f},{:.5f},{:.5f},{:.5f},{:.5f},{},{},{:.4f},{},{"
        "}"
        "\n",
        csv_field(a.image.string()), csv_field(b.image.string()), pair.correlation,
        csv_field(a.patient), csv_field(b.patient), pair.same_patient ? 1 : 0,
        csv_field(name_of_class(table.dataset, a)), csv_field(name_of_class(table.dataset, b)),
        pair.same_class ? 1 : 0, r.left, r.top, r.right, r.bottom, r.skew_x, r.skew_y,
        r.mirrored ? 1 : 0, r.inverted ? 1 : 0, r.overlap(), fold_of(table, pair.a),
        fold_of(table, pair.b));
  }
  return csv;
}

nlohmann::ordered_json duplicates_json(const DuplicateTable& table) {
  nlohmann::ordered_json pairs = nlohmann::ordered_json::array();
  for (const DuplicatePair& pair : table.report.pairs) {
    const Sample &a = table.dataset.samples[pair.a], &b = table.dataset.samples[pair.b];
    const Registration& r = pair.registration;
    nlohmann::ordered_json row{{"image_a", a.image.string()},
                               {"image_b", b.image.string()},
                               {"correlation", pair.correlation},
                               {"patient_a", a.patient},
                               {"patient_b", b.patient},
                               {"same_patient", pair.same_patient},
                               {"class_a", name_of_class(table.dataset, a)},
                               {"class_b", name_of_class(table.dataset, b)},
                               {"same_class", pair.same_class},
                               {"a_in_b",
                                {{"left", r.left},
                                 {"top", r.top},
                                 {"right", r.right},
                                 {"bottom", r.bottom},
                                 {"skew_x", r.skew_x},
                                 {"skew_y", r.skew_y},
                                 {"mirrored", r.mirrored},
                                 {"inverted", r.inverted}}},
                               {"overlap", r.overlap()}};
    if (!table.held_out.empty()) {
      row["fold_a"] = table.held_out[pair.a];
      row["fold_b"] = table.held_out[pair.b];
      row["crosses_folds"] = table.crosses_folds(pair);
    }
    pairs.push_back(std::move(row));
  }
  nlohmann::ordered_json json{
      {"images", table.report.images},
      {"unreadable", table.report.unreadable},
      {"candidates", table.report.candidates},
      {"pairs", pairs},
      {"patients", patients_sharing_images(table.dataset, table.report.pairs)}};
  if (!table.held_out.empty()) json["pairs_crossing_folds"] = crossing(table);
  return json;
}

std::vector<ImageU8> duplicate_sheets(const DuplicateTable& table, int rows, int tile) {
  THORAX_CHECK(rows > 0 && tile >= 32, "[duplicates] sheet of {} rows of {} pixels", rows, tile);
  constexpr int kGap = 6, kCaption = kGlyphHeight + 4;
  constexpr Color kInk{30, 30, 30}, kAlarm{200, 60, 20};
  std::vector<ImageU8> sheets;
  const std::vector<DuplicatePair>& pairs = table.report.pairs;
  for (std::size_t first = 0; first < pairs.size(); first += static_cast<std::size_t>(rows)) {
    const std::size_t last = std::min(pairs.size(), first + static_cast<std::size_t>(rows));
    const int height = tile + 3 * kCaption + kGap;
    ImageU8 sheet(static_cast<int>(last - first) * height + kGap, 3 * (tile + kGap) + kGap, 3, 255);
    for (std::size_t k = first; k < last; ++k) {
      const DuplicatePair& pair = pairs[k];
      const Sample &a = table.dataset.samples[pair.a], &b = table.dataset.samples[pair.b];
      const Image left = load_gray(a.image), right = load_gray(b.image);
      // The place that a takes, so that b laid over it has the same proportions.
      const LetterboxPlace place = letterbox_place(left.height, left.width, tile, tile);
      const Image over = seen_as(right, pair.registration, place.height, place.width);
      int top = kGap + static_cast<int>(k - first) * height;
      fill_rectangle(sheet, top, kGap, tile, 3 * tile + 2 * kGap, {235, 235, 235});
      paste(sheet, to_u8(letterbox(left, tile, tile)), top, kGap);
      paste(sheet, to_u8(letterbox(right, tile, tile)), top, 2 * kGap + tile);
      paste(sheet, to_u8(over), top + place.top, 3 * kGap + 2 * tile + place.left);
      const std::size_t letters = static_cast<std::size_t>((3 * tile) / (2 * kGlyphAdvance));
      const auto line = [&](const std::string& text, Color color) {
        draw_text(sheet, text, top + tile + 4, kGap, color);
        top += kCaption;
      };
      line(fmt::format("{:.3f}  {} | {}", pair.correlation,
                       a.image.filename().string().substr(0, letters),
                       b.image.filename().string().substr(0, letters)),
           kInk);
      line(pair.same_patient ? "patient " + a.patient
                             : fmt::format("two patients: {} | {}", a.patient, b.patient),
           pair.same_patient ? kInk : kAlarm);
      line(fmt::format("{}, {}{}", describe(pair.registration), class_of(table.dataset, a),
                       pair.same_class ? "" : " | " + class_of(table.dataset, b)),
           pair.same_class ? kInk : kAlarm);
    }
    sheets.push_back(std::move(sheet));
  }
  return sheets;
}

}  // namespace thorax
