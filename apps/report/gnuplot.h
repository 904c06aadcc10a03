// The gnuplot process behind plot.h, and the parts of its language that the figures share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apps/report/plot.h"

namespace thorax::app::gnuplot {

// A text as a gnuplot string. In single quotes nothing but the quote itself has a meaning: no
// escapes, no command substitution, no macros.
std::string literal(std::string_view text);
// The same over several lines of at most `columns` characters, broken at blanks, no more than
// `lines` of them; what does not fit ends in an ellipsis.
std::string wrapped(std::string_view text, std::size_t columns, std::size_t lines = 3);
// Cut to `columns` characters.
std::string shortened(std::string_view text, std::size_t columns);
// A label at an explicit tick goes through gnuplot's number formatting: % must be doubled.
std::string tick_label(std::string_view text);
// A number as gnuplot and a reader of the script understand it; the value must be finite.
std::string number(double value);

// Colour "#rrggbb", dash pattern and point type of look 0, 1, ...; no two of the first 49 are
// alike.
std::string colour(int look);
std::string dash(int look);
int point_type(int look);
inline constexpr const char* kInk = "#333333";
inline constexpr const char* kGridColour = "#d9d9d9";

// Encoding, border, ticks, grid, title: what every figure begins with.
std::string preamble(const std::string& title, int width);

// A legend below the label of the horizontal axis: in how many columns and rows entries of these
// names stand below axes of `width`, and how much room is taken from the lower edge up to the axis,
// CSS pixels. Errs towards fewer columns: gnuplot makes none that do not fit below the axes.
struct LegendLayout {
  int columns = 1, rows = 0, bottom = 0;
};
inline constexpr int kAxisHeight = 62, kLegendRow = 22;
LegendLayout legend_layout(const std::vector<std::string>& names, int width);
// Places it, and the lower margin, in a figure of this height.
std::string legend_below(const LegendLayout& layout, int height);
// The label of the horizontal axis, below its middle, where `bottom` pixels lie below the axis.
// gnuplot's own place for it differs between SVG and PNG.
std::string axis_label(const std::string& label, int bottom, int height);

// What is wrong with the gnuplot that figures would be drawn with: not installed, cannot be
// started, does not answer. Empty when it works. The answer is kept: it takes a process to find
// out.
const std::string& problem();

// Runs the script once for SVG and once for PNG. `script` must not choose terminal or output.
// Throws Error "[plot] figure 'TITLE': ..."; after gnuplot has been ended for taking too long, at
// once and for every further figure.
Figure render(const std::string& script, const std::string& title, int width, int height);

// "[plot] figure 'TITLE': " for messages.
std::string where(const std::string& title);

}  // namespace thorax::app::gnuplot
