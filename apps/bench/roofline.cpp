#include "apps/bench/roofline.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <vector>

#include "data/csv.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

// 0 for an empty field.
double number(const CsvTable& table, std::int64_t row, const char* title) {
  const std::string& text = table.at(row, table.column(title));
  if (text.empty()) return 0;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  THORAX_CHECK(
      error == std::errc() && end == text.data() + text.size() && value > 0 && std::isfinite(value),
      "[bench roofline] {}: {} is '{}', not a positive number; give a file that `thorax "
      "bench kernels --csv` has written",
      table.where(row), title, text);
  return value;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct Point {
  std::string type, provider;
  double intensity = 0, rate = 0;  // FLOP a byte, GFLOP/s
};

}  // namespace

Roofline read_roofline(const std::filesystem::path& file) {
  const CsvTable table = CsvTable::read(file);
  const auto text = [&](std::int64_t row, const char* title) {
    return table.at(row, table.column(title));
  };
  Roofline result;
  std::vector<Point> points;
  std::vector<double> copies;
  std::map<std::string, std::vector<double>> peaks;
  std::set<std::string> types;
  for (std::int64_t i = 0; i < table.rows(); ++i) {
    const double rate = number(table, i, "gflop_per_s"), bytes = number(table, i, "gb_per_s");
    const double of_peak = number(table, i, "of_measured_peak"),
                 of_copy = number(table, i, "of_copy_bandwidth");
    if (rate == 0 || bytes == 0 || of_copy == 0) {
      ++result.without_times;
      continue;
    }
    const std::string machine =
        fmt::format("{}, {} threads", text(i, "machine"), text(i, "threads"));
    const std::string where = text(i, "device") == "cpu" ? machine : text(i, "machine");
    THORAX_CHECK(points.empty() || where == result.machine,
                 "[bench roofline] {}: a row of {} among those of {}; a roofline is one machine's: "
                 "give a file for each",
                 table.where(i), where, result.machine);
    result.machine = where;
    const std::string type = text(i, "dtype");
    types.insert(type);
    copies.push_back(bytes / of_copy);
    if (of_peak > 0) peaks[type].push_back(rate / of_peak);
    points.push_back({type, text(i, "provider"), rate / bytes, rate});
  }
  THORAX_CHECK(
      !points.empty(),
      "[bench roofline] {}: none of {} rows has gflop_per_s, gb_per_s and "
      "of_copy_bandwidth; times are measured on cpu and cuda, and convolutions have a rate",
      file.string(), table.rows());
  result.copy = median(copies);
  for (const auto& [type, values] : peaks) result.peak[type] = median(values);
  result.points = std::ssize(points);

  Plot& plot = result.plot;
  plot.title = "Roofline: " + result.machine;
  plot.x = {.label = "operations a byte (FLOP/byte)", .log = true};
  plot.y = {.label = "rate (GFLOP/s)", .log = true};
  double low = points[0].intensity, high = low;
  for (const Point& p : points) {
    low = std::min(low, p.intensity);
    high = std::max(high, p.intensity);
  }
  // Ridges, where memory stops being the limit, are always in the picture.
  for (const auto& [type, peak] : result.peak) {
    low = std::min(low, peak / result.copy / 2);
    high = std::max(high, 2 * peak / result.copy);
  }
  for (const std::string& type : types) {
    const auto peak = result.peak.find(type);
    Series roof;
    roof.name = fmt::format("copy {:.3g} GB/s", result.copy);
    roof.x = {low / 2};
    if (peak != result.peak.end()) {
      roof.name += fmt::format(", {} peak {:.4g} GFLOP/s", type, peak->second);
      roof.x.push_back(peak->second / result.copy);
    }
    roof.x.push_back(2 * high);
    for (const double x : roof.x)
      roof.y.push_back(peak == result.peak.end() ? x * result.copy
                                                 : std::min(peak->second, x * result.copy));
    plot.series.push_back(std::move(roof));
  }
  std::map<std::string, Series> providers;  // in the order of their names
  for (const Point& p : points) {
    Series& series = providers[types.size() > 1 ? p.provider + " " + p.type : p.provider];
    series.style = SeriesStyle::points;
    series.x.push_back(p.intensity);
    series.y.push_back(p.rate);
  }
  for (auto& [name, series] : providers) {
    series.name = name;
    plot.series.push_back(std::move(series));
  }
  return result;
}

}  // namespace thorax::app
