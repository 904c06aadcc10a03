#include "apps/temperature_report.h"

#include <fmt/format.h>

#include <cmath>

namespace thorax::app {
namespace {

Cell number_or_nothing(double value) {
  return std::isnan(value) ? Cell{} : Cell{value};
}

}  // namespace

std::string temperature_line(const TemperatureFit& fit) {
  if (!fit.defined())
    return "temperature: none; the validation images determine no best one (one class only, told "
           "apart without an error, or no better than chance)";
  return fmt::format(
      "temperature {:.4g} of {} validation images: negative log-likelihood {:.4f} -> {:.4f}, "
      "calibration error {:.4f} -> {:.4f}; thorax predict divides logits by it",
      fit.temperature, fit.images, fit.nll_before, fit.nll_after, fit.ece_before, fit.ece_after);
}

Table temperature_table(const std::vector<FoldResult>& folds) {
  Table table{"Temperature, by fold",
              {{"fold", CellKind::text},
               {"images", CellKind::integer},
               {"temperature", CellKind::number, 3},
               {"NLL", CellKind::number, 4},
               {"NLL calibrated", CellKind::number, 4},
               {"ECE", CellKind::number, 4},
               {"ECE calibrated", CellKind::number, 4}},
              {}};
  for (std::size_t k = 0; k < folds.size(); ++k) {
    const TemperatureFit& t = folds[k].temperature;
    table.rows.push_back({std::to_string(k + 1), static_cast<std::int64_t>(folds[k].scored.size()),
                          number_or_nothing(t.temperature), number_or_nothing(t.nll_before),
                          number_or_nothing(t.nll_after), number_or_nothing(t.ece_before),
                          number_or_nothing(t.ece_after)});
  }
  table.notes = {
      "Temperature scaling (Guo et al. 2017): logits are divided by the one number that makes the "
      "mean negative log-likelihood (NLL) of the fold's held-out images smallest; on the same "
      "images, which flatters the calibrated figures a little. Above 1: the network was too sure. "
      "ECE: expected calibration error over 10 bins. The fold's checkpoint carries it, and thorax "
      "predict goes by it unless --temperature is given. Nothing else in this report is "
      "calibrated.",
      "-: the images determine no temperature, or the fold is of an earlier version."};
  return table;
}

}  // namespace thorax::app
