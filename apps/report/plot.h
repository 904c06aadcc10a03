// Figures of results from a short description, drawn by gnuplot as SVG and PNG.
//
// Series differ in colour (Okabe-Ito) and in dash or point type, so that a figure can be read with
// any kind of colour vision and on gray paper. Every text is taken literally: _ ^ { } @ & ~ % \ `
// have no meaning. Values that are not finite, and those <= 0 on a logarithmic axis, are gaps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace thorax::app {

// A drawn figure.
struct Figure {
  std::string title;          // also drawn in the picture
  std::string caption;        // for the report, below the picture; may be empty
  std::string alt;            // for those who cannot see it
  std::string svg;            // a whole SVG document
  std::string png;            // the bytes of a PNG file, twice the size
  std::string missing = {};   // why there is no picture, which a report then says in its place
  int width = 0, height = 0;  // of the SVG, CSS pixels
};

struct Axis {
  std::string label;                          // with the unit in brackets: "time (s)"
  std::optional<double> low = {}, high = {};  // where the axis ends; by the data where absent
  bool log = false;
  bool integer = false;  // epochs, folds: no ticks between whole numbers
};

enum class SeriesStyle {
  line,         // a point between two gaps is drawn as a dot
  line_points,  // with a mark at every point
  steps,        // a value holds until the next x
  points,
  bars,      // from 0 to y
  band,      // the area between y and `high`
  interval,  // at every x a vertical line from y to `high`
};

struct Series {
  std::string name;  // in the legend; empty = not there
  SeriesStyle style = SeriesStyle::line;
  std::vector<double> x, y;
  std::vector<double> high = {};  // band, interval: the upper edge
  // Colour, dash and point type: a series and its band share a number. -1 = the series' place among
  // those without a number.
  int look = -1;
  bool faint = false;    // thin and gray, for what stands behind: the folds behind their mean
  double bar_width = 0;  // in units of x; 0 = by the least distance of two x
};

enum class Legend { below, right, top_left, top_right, bottom_left, bottom_right, none };

struct Plot {
  std::string title;
  Axis x, y;
  std::vector<Series> series = {};
  std::string diagonal = {};  // legend text of the line y = x ("chance"); empty = no such line
  Legend legend = Legend::below;
  bool square = false;  // both axes of one length: ROC, calibration
  std::string caption = {};
  int width = 640, height = 420;
};

// counts[actual][predicted], shown with the share of their row.
struct MatrixPlot {
  std::string title;
  std::vector<std::string> names;
  std::vector<std::vector<std::int64_t>> counts;
  std::string row_label = "actual", column_label = "predicted";
  std::string caption = {};
};

// One bar (or dot) per group and series, horizontal, groups from top to bottom.
struct BarSeries {
  std::string name;
  std::vector<double> values;               // one per group
  std::vector<double> low = {}, high = {};  // ends of an interval; both empty, or one per group
};

struct BarChart {
  std::string title;
  std::string value_label;  // with its unit
  std::vector<std::string> groups;
  std::vector<BarSeries> series;
  // Dots on a line instead of bars: the value axis need not begin at 0, so that 0.97 and 0.99 can
  // be told apart.
  bool dots = false;
  int digits = 0;  // of the number beside each bar
  std::optional<double> low = {}, high = {};
  std::string caption = {};
  int width = 640;
};

// Draw. Throw Error "[plot] figure 'TITLE': ..." for a description that makes no sense (lengths
// that differ, an empty or reversed range), when gnuplot is not installed, when it fails (with its
// message) and when it takes longer than a minute.
Figure draw(const Plot& plot);
Figure draw(const MatrixPlot& plot);
Figure draw(const BarChart& plot);

// Writes STEM.svg and STEM.png atomically.
void save_figure(const Figure& figure, const std::filesystem::path& stem);

}  // namespace thorax::app
