// Figures whose parts are placed by us rather than by gnuplot: matrices and bars with labels.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "apps/report/gnuplot.h"
#include "apps/report/plot.h"
#include "apps/report/text.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

using namespace gnuplot;

constexpr std::size_t kLongestName = 48;   // characters in the legend
constexpr std::size_t kLongestLabel = 40;  // characters of a group's or class's name

// From white to the first colour of the series, by share; gray paper shows the same order.
std::string shade(double share) {
  const double s = std::clamp(share, 0.0, 1.0);
  const auto mix = [&](int full) { return static_cast<int>(std::lround(255 + s * (full - 255))); };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(0x00), mix(0x5a), mix(0x94));
}

std::string ticks(char axis, const std::vector<std::string>& names) {
  std::string out = fmt::format("set {}tics (", axis);
  for (std::size_t i = 0; i < names.size(); ++i)
    out += fmt::format("{}{} {}", i == 0 ? "" : ", ",
                       tick_label(shortened(names[i].empty() ? "(none)" : names[i], kLongestLabel)),
                       i);
  return out + ") scale 0\n";
}

void check(const MatrixPlot& p) {
  const std::size_t n = p.names.size();
  THORAX_CHECK(n >= 1 && n <= 20, "{}{} classes; there may be 1 to 20", where(p.title), n);
  THORAX_CHECK(p.counts.size() == n, "{}{} rows for {} classes", where(p.title), p.counts.size(),
               n);
  for (const std::vector<std::int64_t>& row : p.counts) {
    THORAX_CHECK(row.size() == n, "{}a row of {} counts for {} classes", where(p.title), row.size(),
                 n);
    for (const std::int64_t count : row)
      THORAX_CHECK(count >= 0, "{}count {} is negative", where(p.title), count);
  }
}

void check(const BarChart& p) {
  THORAX_CHECK(!p.value_label.empty(), "{}its value axis has no label", where(p.title));
  THORAX_CHECK(!p.groups.empty() && p.groups.size() <= 200, "{}{} groups; there may be 1 to 200",
               where(p.title), p.groups.size());
  THORAX_CHECK(!p.series.empty() && p.series.size() <= 12, "{}{} series; there may be 1 to 12",
               where(p.title), p.series.size());
  THORAX_CHECK(p.digits >= 0 && p.digits <= 9, "{}{} digits", where(p.title), p.digits);
  for (const BarSeries& s : p.series) {
    THORAX_CHECK(s.values.size() == p.groups.size(), "{}series '{}' has {} values for {} groups",
                 where(p.title), clean_text(s.name), s.values.size(), p.groups.size());
    THORAX_CHECK(
        s.low.size() == s.high.size() && (s.low.empty() || s.low.size() == s.values.size()),
        "{}series '{}' has {} lower and {} upper ends for {} values", where(p.title),
        clean_text(s.name), s.low.size(), s.high.size(), s.values.size());
    for (std::size_t i = 0; i < s.low.size(); ++i)
      THORAX_CHECK(!(s.low[i] > s.high[i]), "{}series '{}': interval from {} to {}", where(p.title),
                   clean_text(s.name), s.low[i], s.high[i]);
  }
  THORAX_CHECK(!p.low || !p.high || *p.low < *p.high, "{}its axis would go from {} to {}",
               where(p.title), *p.low, *p.high);
}

bool has_interval(const BarSeries& s, std::size_t i) {
  return !s.low.empty() && std::isfinite(s.low[i]) && std::isfinite(s.high[i]);
}

}  // namespace

Figure draw(const MatrixPlot& p) {
  check(p);
  const int n = static_cast<int>(p.names.size());
  std::size_t longest = 0;
  for (const std::string& name : p.names)
    longest = std::max(longest, std::min(kLongestLabel, text_columns(clean_text(name))));
  // A cell holds the count and the share below it, and its class's name must fit below the column.
  const int cell = n <= 3 ? 104 : n <= 6 ? 72 : 54;
  const int wide = std::max(cell, static_cast<int>(longest) * 9 + 10);
  const int left = 44 + static_cast<int>(longest) * 9, bottom = 64, right = 24;
  const int width = std::max(300, left + wide * n + right);
  const int top = static_cast<int>(text_columns(clean_text(p.title))) * 9 > width ? 66 : 48;
  const int height = top + cell * n + bottom;
  std::string script = preamble({}, width);
  script += fmt::format("set title {} font ',15'\n",
                        wrapped(p.title, static_cast<std::size_t>(width / 10), 2));
  script += "unset key\nunset grid\nunset border\n";
  script += fmt::format("set lmargin at screen {}\nset rmargin at screen {}\n",
                        number(static_cast<double>(left) / width),
                        number(static_cast<double>(left + wide * n) / width));
  script +=
      fmt::format("set tmargin at screen {}\n", number(1 - static_cast<double>(top) / height));
  script += fmt::format("set xrange [-0.5:{0}.5]\nset yrange [{0}.5:-0.5]\n", n - 1);
  script += axis_label(p.column_label, bottom, height);
  script += fmt::format("set ylabel {} textcolor rgb '{}'\n", literal(p.row_label), kInk);
  script += ticks('x', p.names) + ticks('y', p.names);
  std::string alt = fmt::format("Matrix: {}. ", clean_text(p.title));
  for (int r = 0; r < n; ++r) {
    const std::vector<std::int64_t>& row = p.counts[static_cast<std::size_t>(r)];
    std::int64_t sum = 0;
    for (const std::int64_t count : row) sum += count;
    for (int c = 0; c < n; ++c) {
      const std::int64_t count = row[static_cast<std::size_t>(c)];
      const double share = sum > 0 ? static_cast<double>(count) / static_cast<double>(sum) : 0;
      script += fmt::format(
          "set object rectangle from {},{} to {},{} fc rgb '{}' fs solid border lc rgb '#b8b8b8' "
          "behind\n",
          number(c - 0.5), number(r - 0.5), number(c + 0.5), number(r + 0.5), shade(share));
      const char* ink = share > 0.55 ? "#ffffff" : "#000000";
      script += fmt::format(
          "set label '{}' at {},{} center offset 0,0.6 font ',{}' textcolor rgb '{}' front\n",
          count, c, r, n <= 3 ? 19 : 13, ink);
      const std::string percent = sum > 0 ? fmt::format("{:.1f} %", 100 * share) : "-";
      script += fmt::format(
          "set label '{}' at {},{} center offset 0,-0.8 font ',{}' textcolor rgb '{}' front\n",
          percent, c, r, n <= 6 ? 11 : 9, ink);
      alt +=
          fmt::format("{} {}, {} {}: {} ({}). ", clean_text(p.row_label),
                      clean_text(p.names[static_cast<std::size_t>(r)]), clean_text(p.column_label),
                      clean_text(p.names[static_cast<std::size_t>(c)]), count, percent);
    }
  }
  script += "plot NaN notitle\n";
  Figure figure = render(script, p.title, width, height);
  figure.alt = alt;
  figure.caption = p.caption;
  return figure;
}

Figure draw(const BarChart& p) {
  check(p);
  const std::size_t groups = p.groups.size(), count = p.series.size();
  // The values, with the ends of their intervals, say how long the axis is.
  double least = p.dots ? std::numeric_limits<double>::infinity() : 0.0;
  double most = p.dots ? -std::numeric_limits<double>::infinity() : 0.0;
  std::size_t longest_number = 1;
  for (const BarSeries& s : p.series)
    for (std::size_t i = 0; i < groups; ++i) {
      if (!std::isfinite(s.values[i])) continue;
      least = std::min({least, s.values[i], has_interval(s, i) ? s.low[i] : s.values[i]});
      most = std::max({most, s.values[i], has_interval(s, i) ? s.high[i] : s.values[i]});
      longest_number =
          std::max(longest_number, fmt::format("{:.{}f}", s.values[i], p.digits).size());
    }
  if (!(least <= most)) least = 0, most = 1;
  if (least == most) most = least + 1;
  const double margin = p.dots ? 0.06 * (most - least) : 0;
  const double low = p.low.value_or(least < 0 || p.dots ? least - margin : 0);
  const double high = p.high.value_or(most + margin);
  THORAX_CHECK(low < high, "{}its axis would go from {} to {}", where(p.title), low, high);

  std::size_t longest_name = 4;
  for (const std::string& name : p.groups)
    longest_name = std::max(longest_name, std::min(kLongestLabel, text_columns(clean_text(name))));
  const int left = 24 + static_cast<int>(8.5 * static_cast<double>(longest_name));
  const int right = 30 + 9 * static_cast<int>(longest_number);
  const bool legend = count > 1;
  const int width = std::max(p.width, left + right + 200);
  const int row = count == 1 ? 26 : 16 * static_cast<int>(count) + 12;
  std::vector<std::string> names;
  for (const BarSeries& s : p.series) names.push_back(shortened(s.name, kLongestName));
  const LegendLayout layout =
      legend_layout(legend ? names : std::vector<std::string>{}, width - left - right);
  const int top = 56, bottom = layout.bottom;
  const int height = top + row * static_cast<int>(groups) + bottom;

  std::string script = preamble(p.title, width);
  script += fmt::format("set border {} lc rgb '{}' lw 0.8\n", p.dots ? 1 : 3, kInk);
  script += fmt::format("set lmargin at screen {}\nset rmargin at screen {}\n",
                        number(static_cast<double>(left) / width),
                        number(1 - static_cast<double>(right) / width));
  script +=
      fmt::format("set tmargin at screen {}\n", number(1 - static_cast<double>(top) / height));
  script += axis_label(p.value_label, bottom, height);
  script += ticks('y', p.groups);
  script += fmt::format("set grid {} back lt 1 lc rgb '{}' lw 0.7 dt solid\n",
                        p.dots ? "xtics ytics" : "noytics xtics", kGridColour);
  script += fmt::format("set xrange [{}:{}]\nset yrange [{}:-0.5]\n", number(low), number(high),
                        number(static_cast<double>(groups) - 0.5));
  script += legend ? legend_below(layout, height) : "unset key\n";
  std::string alt = fmt::format("{}: {}. {}. ", p.dots ? "Dot chart" : "Bar chart",
                                clean_text(p.title), clean_text(p.value_label));
  std::vector<std::string> parts;
  const double slot = 0.8 / static_cast<double>(count);
  for (std::size_t k = 0; k < count; ++k) {
    const BarSeries& s = p.series[k];
    const int look = static_cast<int>(k);
    const double shift = (static_cast<double>(k) + 0.5) * slot - 0.4;
    std::string bars, intervals;
    for (std::size_t i = 0; i < groups; ++i) {
      const double y = static_cast<double>(i) + shift;
      if (count > 1 && !s.name.empty()) alt += clean_text(s.name) + ", ";
      alt += clean_text(p.groups[i]) + ": ";
      if (!std::isfinite(s.values[i])) {
        alt += "no value. ";
        script += fmt::format("set label '-' at graph 0,first {} left offset 0.6,0\n", number(y));
        continue;
      }
      const double half = 0.42 * slot * (p.dots ? 0 : 1);
      bars += fmt::format("{} {} 0 {} {} {}\n", number(s.values[i]), number(y), number(s.values[i]),
                          number(y - half), number(y + half));
      double end = std::max(s.values[i], 0.0);
      if (p.dots) end = s.values[i];
      if (has_interval(s, i)) {
        intervals += fmt::format("{} {} {} {}\n", number(s.values[i]), number(y), number(s.low[i]),
                                 number(s.high[i]));
        end = std::max(end, s.high[i]);
      }
      const std::string shown = fmt::format("{:.{}f}", s.values[i], p.digits);
      alt += has_interval(s, i) ? fmt::format("{} ({:.{}f} to {:.{}f}). ", shown, s.low[i],
                                              p.digits, s.high[i], p.digits)
                                : shown + ". ";
      script += fmt::format("set label '{}' at {},{} left offset 0.6,0 font ',11' front\n", shown,
                            number(std::clamp(end, low, high)), number(y));
    }
    const std::string title = s.name.empty() || !legend ? "notitle" : "title " + literal(names[k]);
    const std::string dot = fmt::format("with points pt {} ps POINT lc rgb '{}' lw 1.5",
                                        point_type(look), colour(look));
    const std::string bar =
        k == 0
            ? fmt::format("with boxxyerror fs solid 0.85 border lc rgb '{0}' lw 0.7 lc rgb '{0}'",
                          colour(look))
            : fmt::format("with boxxyerror fs pattern {0} border lc rgb '{1}' lw 0.9 lc rgb '{1}'",
                          std::array{4, 2, 5, 1, 7, 6, 0}[(k - 1) % 7], colour(look));
    if (!bars.empty()) {
      script += fmt::format("$b{} << THORAX_END\n{}THORAX_END\n", k, bars);
      parts.push_back(p.dots ? fmt::format("$b{} using 1:2 {} {}", k, dot, title)
                             : fmt::format("$b{} using 1:2:3:4:5:6 {} {}", k, bar, title));
    } else if (legend && !s.name.empty()) {
      parts.push_back(fmt::format("keyentry {} {}", p.dots ? dot : bar, title));
    }
    if (!intervals.empty()) {
      script += fmt::format("$i{} << THORAX_END\n{}THORAX_END\n", k, intervals);
      parts.push_back(
          fmt::format("$i{} using 3:2:($4-$3):(0) with vectors heads size screen 0.006,90 lc rgb "
                      "'{}' lw 1.3 notitle",
                      k, p.dots ? colour(look) : kInk));
    }
  }
  if (parts.empty()) parts.push_back("NaN notitle");
  script += fmt::format("plot {}\n", fmt::join(parts, ", \\\n  "));
  Figure figure = render(script, p.title, width, height);
  figure.alt = alt;
  figure.caption = p.caption;
  return figure;
}

}  // namespace thorax::app
