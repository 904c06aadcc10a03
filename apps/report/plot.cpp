#include "apps/report/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/report/gnuplot.h"
#include "apps/report/text.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

using namespace gnuplot;

constexpr std::size_t kLongestName = 64;  // characters in the legend
constexpr const char* kFaint = "#9a9a9a";

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return !(low <= high); }
};

bool has_high(const Series& s) {
  return s.style == SeriesStyle::band || s.style == SeriesStyle::interval;
}

bool drawable(double value, const Axis& axis) {
  return std::isfinite(value) && (!axis.log || value > 0);
}

void check(const Axis& axis, const char* name, const std::string& title) {
  THORAX_CHECK(!axis.label.empty(), "{}its {} axis has no label", where(title), name);
  for (const std::optional<double>& end : {axis.low, axis.high})
    THORAX_CHECK(!end || drawable(*end, axis), "{}its {} axis cannot end at {}", where(title), name,
                 *end);
  THORAX_CHECK(!axis.low || !axis.high || *axis.low < *axis.high,
               "{}its {} axis would go from {} to {}", where(title), name, *axis.low, *axis.high);
}

void check(const Plot& p) {
  check(p.x, "x", p.title);
  check(p.y, "y", p.title);
  THORAX_CHECK(p.width >= 200 && p.height >= 150 && p.width <= 4000 && p.height <= 4000,
               "{}size {} x {}; sides must be 200 (150) to 4000", where(p.title), p.width,
               p.height);
  for (const Series& s : p.series) {
    THORAX_CHECK(s.x.size() == s.y.size(), "{}series '{}' has {} x and {} y", where(p.title),
                 clean_text(s.name), s.x.size(), s.y.size());
    const std::size_t upper = has_high(s) ? s.x.size() : 0;
    THORAX_CHECK(s.high.size() == upper, "{}series '{}' has {} upper edges for {} points of a {}",
                 where(p.title), clean_text(s.name), s.high.size(), s.x.size(),
                 upper > 0 ? "band" : "line without one");
  }
}

// Where the values lie on one axis.
Range extent(const Plot& p, bool of_x) {
  Range range;
  for (const Series& s : p.series) {
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      if (!drawable(s.x[i], p.x) || !drawable(s.y[i], p.y)) continue;
      range.add(of_x ? s.x[i] : s.y[i]);
      if (!of_x && has_high(s) && drawable(s.high[i], p.y)) range.add(s.high[i]);
    }
    if (!of_x && s.style == SeriesStyle::bars && !p.y.log && !s.x.empty()) range.add(0);
  }
  return range;
}

std::string axis_script(const Axis& axis, char name, const Range& data) {
  std::string out;
  if (name == 'y')
    out +=
        fmt::format("set ylabel {} textcolor rgb '{}'\n", literal(shortened(axis.label, 70)), kInk);
  if (axis.log) out += fmt::format("set logscale {} 10\n", name);
  std::optional<double> low = axis.low, high = axis.high;
  if (data.empty()) {  // nothing to draw: axes all the same
    if (!low) low = axis.log ? 0.1 : 0.0;
    if (!high) high = *low + 1;
  } else if (data.low == data.high && !low && !high) {
    // gnuplot would choose a sliver around the only value.
    const double value = data.low;
    if (axis.log) {
      low = value / 10;
      high = value * 10;
    } else {
      const double margin = axis.integer || value == 0 ? 1 : std::abs(value) / 2;
      low = value - margin;
      high = value + margin;
    }
  } else if (axis.integer && !axis.log) {
    // Curves that end where the data ends, not at the next round number.
    if (!low) low = data.low;
    if (!high) high = data.high;
  }
  // All the data beyond the one end that was given: the axis still runs upwards.
  if (low && !high && data.high <= *low) high = axis.log ? *low * 10 : *low + 1;
  if (high && !low && data.low >= *high) low = axis.log ? *high / 10 : *high - 1;
  if (low && high && *low >= *high) {
    if (!axis.low) low = axis.log ? *high / 10 : *high - 1;
    if (!axis.high) high = axis.log ? *low * 10 : *low + 1;
  }
  out += fmt::format("set {}range [{}:{}]\n", name, low ? number(*low) : "*",
                     high ? number(*high) : "*");
  if (axis.integer && !axis.log && low && high && *high - *low <= 12)
    out += fmt::format("set {}tics 1\n", name);
  return out;
}

std::string legend_script(Legend legend) {
  switch (legend) {
    case Legend::none:
      return "unset key\n";
    case Legend::below:
      return {};  // placed by legend_below
    case Legend::right:
      return "set key outside right top vertical Left reverse samplen 3 spacing 1.15\n";
    default:
      break;
  }
  const bool top = legend == Legend::top_left || legend == Legend::top_right;
  const bool left = legend == Legend::top_left || legend == Legend::bottom_left;
  return fmt::format(
      "set key inside {} {} vertical Left reverse samplen 3 spacing 1.15 opaque fc rgb '#ffffff' "
      "box lc rgb '{}' lw 0.5 width 0.5 height 0.3\n",
      top ? "top" : "bottom", left ? "left" : "right", kGridColour);
}

// The points of a series; an empty line is a gap. Also counts what can be seen, and collects points
// that stand alone between gaps, which a line would not show.
struct Data {
  std::string text, alone;
  std::size_t points = 0;
};

Data data_of(const Series& s, const Plot& p) {
  Data data;
  std::vector<std::string> run;
  const auto finish = [&] {
    for (const std::string& line : run) data.text += line;
    if (!run.empty()) data.text += "\n";
    if (run.size() == 1) data.alone += run[0];
    data.points += run.size();
    run.clear();
  };
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    const bool band = has_high(s);
    if (!drawable(s.x[i], p.x) || !drawable(s.y[i], p.y) || (band && !drawable(s.high[i], p.y))) {
      finish();
      continue;
    }
    run.push_back(band
                      ? fmt::format("{} {} {}\n", number(s.x[i]), number(s.y[i]), number(s.high[i]))
                      : fmt::format("{} {}\n", number(s.x[i]), number(s.y[i])));
  }
  finish();
  return data;
}

double bar_width(const Series& s) {
  if (s.bar_width > 0) return s.bar_width;
  std::vector<double> x = s.x;
  std::erase_if(x, [](double value) { return !std::isfinite(value); });
  std::sort(x.begin(), x.end());
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 1; i < x.size(); ++i)
    if (x[i] > x[i - 1]) least = std::min(least, x[i] - x[i - 1]);
  return std::isfinite(least) ? 0.9 * least : 1;
}

// What follows "plot $d using ..." for one series.
std::string style_of(const Series& s, int look) {
  const std::string paint = s.faint ? kFaint : colour(look);
  const double width = s.faint ? 0.9 : 2;
  const std::string line =
      fmt::format("lc rgb '{}' lw {} dt {}", paint, width, s.faint ? "solid" : dash(look));
  switch (s.style) {
    case SeriesStyle::line:
      return "with lines " + line;
    case SeriesStyle::line_points:
      return fmt::format("with linespoints {} pt {} ps 0.7*POINT", line, point_type(look));
    case SeriesStyle::steps:
      return "with steps " + line;
    case SeriesStyle::points:
      return fmt::format("with points lc rgb '{}' pt {} ps {}*POINT", paint, point_type(look),
                         s.faint ? 0.5 : 0.9);
    case SeriesStyle::bars:
      return fmt::format("with boxes fs transparent solid {} border lc rgb '{}' lc rgb '{}' lw 0.7",
                         s.faint ? 0.35 : 0.6, paint, paint);
    case SeriesStyle::interval:  // not yerrorbars: they blot out what lies behind their middle
      return fmt::format("with vectors heads size graph 0.008,90 lc rgb '{}' lw 1.2", paint);
    case SeriesStyle::band:
      return fmt::format("with filledcurves fs transparent solid 0.2 noborder lc rgb '{}'", paint);
  }
  return {};
}

std::string alt_text(const Plot& p) {
  std::string alt = fmt::format("Chart: {}. {} against {}.", clean_text(p.title),
                                clean_text(p.y.label), clean_text(p.x.label));
  std::vector<std::string> names;
  for (const Series& s : p.series)
    if (!s.name.empty()) names.push_back(clean_text(s.name));
  if (!names.empty()) alt += fmt::format(" Shown: {}.", fmt::join(names, "; "));
  return alt;
}

// What is drawn, and what the legend shows.
struct Parts {
  std::string data;                 // datablocks
  std::vector<std::string> behind;  // bands and bars never hide lines
  std::vector<std::string> front;
  std::vector<std::pair<std::string, std::string>> legend;  // style, name
  std::size_t points = 0;
};

Parts parts_of(const Plot& p) {
  Parts parts;
  int next_look = 0;
  for (std::size_t i = 0; i < p.series.size(); ++i) {
    const Series& s = p.series[i];
    const int look = s.look >= 0 ? s.look : next_look;
    if (s.look < 0 && !s.faint) ++next_look;
    const Data data = data_of(s, p);
    const std::string style = style_of(s, look);
    // A series without values stays in the legend, so that nobody wonders where it is.
    if (!s.name.empty())
      parts.legend.emplace_back(
          style, shortened(s.name + (data.points == 0 ? " (no values)" : ""), kLongestName));
    if (data.points == 0) continue;
    parts.points += data.points;
    parts.data += fmt::format("$d{} << THORAX_END\n{}THORAX_END\n", i, data.text);
    const std::string columns =
        s.style == SeriesStyle::interval ? "1:2:(0):($3-$2)"
        : s.style == SeriesStyle::band
            ? "1:2:3"
            : (s.style == SeriesStyle::bars ? "1:2:(" + number(bar_width(s)) + ")" : "1:2");
    const bool is_area = s.style == SeriesStyle::band || s.style == SeriesStyle::bars;
    (is_area ? parts.behind : parts.front)
        .push_back(fmt::format("$d{} using {} {} notitle", i, columns, style));
    const bool is_line = s.style == SeriesStyle::line || s.style == SeriesStyle::steps;
    if (is_line && !data.alone.empty()) {
      parts.data += fmt::format("$a{} << THORAX_END\n{}THORAX_END\n", i, data.alone);
      Series dot = s;
      dot.style = SeriesStyle::points;
      parts.front.push_back(fmt::format("$a{} using 1:2 {} notitle", i, style_of(dot, look)));
    }
  }
  if (!p.diagonal.empty()) {
    const std::string style = fmt::format("with lines lc rgb '{}' lw 1 dt (4,4)", kFaint);
    parts.behind.push_back("x " + style + " notitle");
    parts.legend.emplace_back(style, shortened(p.diagonal, kLongestName));
  }
  return parts;
}

}  // namespace

Figure draw(const Plot& p) {
  check(p);
  const Parts parts = parts_of(p);
  std::vector<std::string> names;
  for (const auto& [style, name] : parts.legend) names.push_back(name);
  const bool below = p.legend == Legend::below && !names.empty();
  const LegendLayout layout = legend_layout(names, p.width - 90);
  // Further rows of the legend must not eat the axes.
  const int height = p.height + (below ? kLegendRow * (layout.rows - 1) : 0);

  std::string script = preamble(p.title, p.width);
  if (p.square) script += "set size square\n";
  script += axis_script(p.x, 'x', extent(p, true)) + axis_script(p.y, 'y', extent(p, false));
  script += axis_label(p.x.label, below ? layout.bottom : kAxisHeight, height);
  script += below ? legend_below(layout, height) : legend_script(p.legend);
  script += parts.data;
  if (parts.points == 0)
    script +=
        fmt::format("set label 'no values' at graph 0.5,0.5 center textcolor rgb '{}'\n", kInk);
  std::vector<std::string> drawn;
  // gnuplot draws no axes for a legend alone.
  if (parts.points == 0) drawn.push_back("NaN notitle");
  drawn.insert(drawn.end(), parts.behind.begin(), parts.behind.end());
  drawn.insert(drawn.end(), parts.front.begin(), parts.front.end());
  if (p.legend != Legend::none)
    for (const auto& [style, name] : parts.legend)
      drawn.push_back(fmt::format("keyentry {} title {}", style, literal(name)));
  script += fmt::format("plot {}\n", fmt::join(drawn, ", \\\n  "));
  Figure figure = render(script, p.title, p.width, height);
  figure.alt = alt_text(p);
  figure.caption = p.caption;
  return figure;
}

}  // namespace thorax::app
