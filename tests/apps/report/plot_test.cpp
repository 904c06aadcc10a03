// Figures: texts are taken literally, gaps are gaps, nothing looks like anything else, and a
// gnuplot that is missing or fails is named with the figure.
#include "apps/report/plot.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>

#include "apps/report/gnuplot.h"
#include "data/decode.h"
#include "tests/apps/report/support.h"

using namespace thorax;
using namespace thorax::app;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

Plot simple() {
  Plot p{"Loss", {"epoch"}, {"loss"}};
  p.series = {{"training", SeriesStyle::line, {1, 2, 3, 4, 5}, {5, 4, 3, 2, 1}}};
  return p;
}

int occurrences(const std::string& text, const std::string& part) {
  int count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

// The elements that draw the first series.
std::string first_series(const Figure& figure) {
  const std::size_t from = figure.svg.find("gnuplot_plot_1");
  REQUIRE(from != std::string::npos);
  return figure.svg.substr(from, figure.svg.find("gnuplot_plot_2", from) - from);
}

ImageU8 decoded(const Figure& figure) {
  const TempFolder folder;
  save_figure(figure, folder / "figure");
  return to_u8(load_image(folder / "figure.png"));
}

// The PATH for a while.
class Path {
 public:
  explicit Path(const std::string& path) : before_(std::getenv("PATH")) {
    setenv("PATH", path.c_str(), 1);
  }
  ~Path() { setenv("PATH", before_.c_str(), 1); }

 private:
  std::string before_;
};

}  // namespace

TEST_CASE("every character of a text is shown as it is, and none of them runs anything") {
  const TempFolder folder;
  const std::string touched = (folder / "touched").string();
  const std::string nasty =
      "a_b^{2} {/Bold x} @c &d~e \"f\" 'g' \\n %d 100% <h> ]]> \u00B5\u00E9 #;";
  const std::string attack = "`touch " + touched + "` '.system(\"touch " + touched +
                             "\").' @touch\nsystem 'touch " + touched + "'";
  Plot p = simple();
  p.title = nasty;
  p.x.label = nasty;
  p.y.label = attack;
  p.series[0].name = nasty;
  p.series.push_back({attack, SeriesStyle::points, {1, 2}, {2, 3}});
  p.diagonal = attack;
  BarChart bars{"bars " + nasty, "n " + attack, {"50% %g {x}_y `touch " + touched + "`"}, {}};
  bars.series = {{nasty, {3}}, {attack, {4}}};
  const MatrixPlot matrix{
      "matrix " + nasty, {"100%_{a}", "`touch " + touched + "`"}, {{1, 2}, {3, 4}}};
  for (const Figure& figure : {draw(p), draw(bars), draw(matrix)}) {
    INFO(figure.title);
    const XmlCheck xml = check_xml(figure.svg);
    CHECK(xml.error == "");
    CHECK(outside_references(xml) == "");
    for (const char* part : {"a_b^{2} {/Bold x} @c &d~e \"f\" 'g' \\n %d 100% <h>", "\u00B5\u00E9"})
      CHECK_MESSAGE(contains(xml.text, part), part << " is not in " << xml.text);
  }
  CHECK(contains(check_xml(draw(bars).svg).text, "50% %g {x}_y"));
  CHECK(contains(check_xml(draw(matrix).svg).text, "100%_{a}"));
  CHECK_FALSE(fs::exists(touched));
}

TEST_CASE("bytes that are no UTF-8, and control characters, still give well-formed SVG") {
  Plot p = simple();
  p.title = "caf\xE9 \x01\x1B[31m \xFF";
  p.series[0].name = std::string("nul\0byte", 8);
  const XmlCheck xml = check_xml(draw(p).svg);
  CHECK(xml.error == "");
  CHECK(contains(xml.text, "caf\uFFFD"));
}

TEST_CASE("the PNG has twice the size of the SVG and is not blank") {
  const Figure figure = draw(simple());
  const ImageU8 image = decoded(figure);
  CHECK(figure.width == 640);
  CHECK(image.width == 2 * figure.width);
  CHECK(image.height == 2 * figure.height);
  // The corner is paper; the blue of the first series is there.
  const auto is = [&](int y, int x, int r, int g, int b) {
    return image.at(y, x, 0) == r && image.at(y, x, 1) == g && image.at(y, x, 2) == b;
  };
  CHECK(is(0, 0, 255, 255, 255));
  int blue = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) blue += is(y, x, 0x00, 0x72, 0xB2);
  CHECK(blue > 500);
}

TEST_CASE("NaN, infinities, and what a logarithm does not have, are gaps") {
  Plot p = simple();
  CHECK(occurrences(first_series(draw(p)), "M") == 1);
  p.series[0].y[2] = kNone;
  CHECK(occurrences(first_series(draw(p)), "M") == 2);
  p.series[0].y[2] = std::numeric_limits<double>::infinity();
  CHECK(occurrences(first_series(draw(p)), "M") == 2);
  p.series[0].y[2] = -1;
  p.y.log = true;
  CHECK(occurrences(first_series(draw(p)), "M") == 2);
}

TEST_CASE("a point that stands alone is seen: a run of one epoch has a figure") {
  Plot p = simple();
  p.x.integer = true;
  const int before = occurrences(draw(p).svg, "<use xlink:href='#gpPt");
  p.series[0].x = {1};
  p.series[0].y = {0.4};
  CHECK(occurrences(draw(p).svg, "<use xlink:href='#gpPt") == before + 1);
}

TEST_CASE("a figure without values says so") {
  for (const std::vector<double>& values : {std::vector<double>{}, std::vector<double>{kNone}}) {
    Plot p = simple();
    p.series[0].x = std::vector<double>(values.size(), 1);
    p.series[0].y = values;
    const XmlCheck xml = check_xml(draw(p).svg);
    CHECK(contains(xml.text, "no values"));
    CHECK(contains(xml.text, "training (no values)"));
  }
  CHECK(check_xml(draw(Plot{"nothing", {"x"}, {"y"}}).svg).error == "");
}

TEST_CASE("the first 49 looks differ in colour or dash, and in colour or point") {
  std::set<std::string> lines, points;
  for (int look = 0; look < 49; ++look) {
    lines.insert(gnuplot::colour(look) + gnuplot::dash(look));
    points.insert(gnuplot::colour(look) + std::to_string(gnuplot::point_type(look)));
  }
  CHECK(lines.size() == 49);
  CHECK(points.size() == 49);
  // In gray print the first seven are told apart by their dashes alone.
  std::set<std::string> dashes;
  for (int look = 0; look < 7; ++look) dashes.insert(gnuplot::dash(look));
  CHECK(dashes.size() == 7);
}

TEST_CASE("every style, scale and legend place is drawn") {
  for (const Legend legend : {Legend::below, Legend::right, Legend::top_left, Legend::top_right,
                              Legend::bottom_left, Legend::bottom_right, Legend::none}) {
    Plot p{"All styles", {"x (mm)", 0.5, 6, true}, {"y"}};
    for (const SeriesStyle style : {SeriesStyle::line, SeriesStyle::line_points, SeriesStyle::steps,
                                    SeriesStyle::points, SeriesStyle::bars}) {
      p.series.push_back({"style " + std::to_string(p.series.size()), style, {1, 2, 5}, {3, 1, 2}});
    }
    p.series.push_back({"band", SeriesStyle::band, {1, 2, 5}, {3, 1, 2}, {4, 2, 2}, 0});
    p.series.push_back({"interval", SeriesStyle::interval, {1, 2, 5}, {3, 1, 2}, {4, 2, 2}, 1});
    p.diagonal = "chance";
    p.legend = legend;
    const Figure figure = draw(p);
    const XmlCheck xml = check_xml(figure.svg);
    CHECK(xml.error == "");
    CHECK(contains(xml.text, "interval") == (legend != Legend::none));
    CHECK(contains(figure.alt, "All styles"));
  }
}

TEST_CASE("bars and matrices show their numbers; empty groups and rows do not stop them") {
  BarChart bars{"Models", "percent", {"A", "B", ""}, {{"whole", {97.8, kNone, 100}}}};
  bars.digits = 2;
  bars.series[0].low = {95, kNone, kNone};
  bars.series[0].high = {99, kNone, kNone};
  for (const bool dots : {false, true}) {
    bars.dots = dots;
    const Figure figure = draw(bars);
    const XmlCheck xml = check_xml(figure.svg);
    for (const char* text : {"97.80", "100.00", "(none)", "percent"})
      CHECK(contains(xml.text, text));
    CHECK(contains(figure.alt, "B: no value"));
    CHECK(contains(figure.alt, "97.80 (95.00 to 99.00)"));
  }
  CHECK(check_xml(draw(BarChart{"Nothing", "n", {"A"}, {{"", {kNone}}}}).svg).error == "");
  CHECK(check_xml(draw(BarChart{"Below", "n", {"A"}, {{"", {-3}}}}).svg).error == "");
  const Figure matrix = draw(MatrixPlot{"Worst", {"COVID-19", "non-COVID"}, {{39, 2}, {0, 0}}});
  const XmlCheck xml = check_xml(matrix.svg);
  for (const char* text : {"39", "95.1 %", "4.9 %", "actual", "predicted"})
    CHECK(contains(xml.text, text));
  CHECK(contains(matrix.alt, "actual COVID-19, predicted non-COVID: 2 (4.9 %)"));
}

TEST_CASE("a description that makes no sense is refused, naming the figure") {
  Plot p = simple();
  p.series[0].y.pop_back();
  CHECK_REFUSED(draw(p), "[plot] figure 'Loss': series 'training' has 5 x and 4 y");
  p = simple();
  p.x.low = 3;
  p.x.high = 3;
  CHECK_REFUSED(draw(p), "x axis would go from 3 to 3");
  p = simple();
  p.y.log = true;
  p.y.low = 0;
  CHECK_REFUSED(draw(p), "y axis cannot end at 0");
  p = simple();
  p.x.label.clear();
  CHECK_REFUSED(draw(p), "x axis has no label");
  p = simple();
  p.series[0].style = SeriesStyle::band;
  CHECK_REFUSED(draw(p), "has 0 upper edges");
  CHECK_REFUSED(draw(BarChart{"B", "n", {"A", "B"}, {{"", {1}}}}), "1 values for 2 groups");
  CHECK_REFUSED(draw(MatrixPlot{"M", {"a", "b"}, {{1, 2}}}), "1 rows for 2 classes");
  CHECK_REFUSED(draw(MatrixPlot{"M", {"a"}, {{-1}}}), "count -1 is negative");
}

TEST_CASE("a missing or failing gnuplot is an error that names the figure") {
  const TempFolder folder;
  const auto fake = [&](const std::string& body) {
    std::ofstream(folder / "gnuplot") << "#!/bin/sh\n" << body << "\n";
    chmod((folder / "gnuplot").c_str(), 0700);
  };
  const Path path(folder.path().string());
  CHECK_REFUSED(draw(simple()),
                "[plot] figure 'Loss': gnuplot is not installed; "
                "third_party/install.sh");
  fake("echo 'line 7: no such thing' >&2; exit 3");
  CHECK_REFUSED(draw(simple()),
                "[plot] figure 'Loss': gnuplot failed with exit status 3: line 7: "
                "no such thing");
  fake("kill -9 $$");
  CHECK_REFUSED(draw(simple()), "gnuplot was ended by signal 9");
  fake("exit 0");
  CHECK_REFUSED(draw(simple()), "gnuplot drew nothing");
}

TEST_CASE("figures are written whole or not at all") {
  const TempFolder folder;
  const Figure figure = draw(simple());
  save_figure(figure, folder / "loss");
  CHECK(file_text(folder / "loss.svg") == figure.svg);
  CHECK(file_text(folder / "loss.png") == figure.png);
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 2);
  CHECK_REFUSED(save_figure(figure, folder / "absent/loss"), "[io] ");
  CHECK_REFUSED(save_figure(Figure{"undrawn", "", "", "", ""}, folder / "x"), "has not been drawn");
}
