// Texts that are also programs: none runs, neither in gnuplot nor in a browser that opens the
// report. Each test first sees its canary appear where the text does run.
#include <doctest/doctest.h>

#include <fstream>

#include "apps/report/plot.h"
#include "apps/report/report.h"
#include "tests/apps/report/support.h"

using namespace thorax;
using namespace thorax::app;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

// Ways out of a string of gnuplot's language, each of which would create the file.
std::vector<std::string> gnuplot_attacks(const fs::path& canary) {
  const std::string touch = "touch " + canary.string();
  return {"`" + touch + "`",
          "'; system('" + touch + "'); '",
          "\"; system(\"" + touch + "\"); \"",
          "\n!" + touch + "\n",
          "'\nsystem '" + touch + "'\n#",
          "\\'; system('" + touch + "'); #",
          "$(" + touch + ") %s %n {/:Bold @macro }",
          "' . system('" + touch + "') . '"};
}

// Ways into a page, each of which would mark its root element.
const std::string kMark = "document.documentElement.setAttribute('data-canary','ran')";
std::vector<std::string> page_attacks() {
  return {"<script>" + kMark + "</script>",
          "</title></style></p><script>" + kMark + "</script>",
          "<img src=\"x\" onerror=\"" + kMark + "\">",
          "\"><svg onload=\"" + kMark + "\"></svg>",
          "' onmouseover='" + kMark + "' autofocus onfocus='" + kMark,
          "--><script>" + kMark + "</script><!--",
          "]]><script>" + kMark + "</script>",
          "<iframe srcdoc=\"<script>parent." + kMark + "</script>\"></iframe>"};
}

std::string dom_of(const fs::path& page, const fs::path& profile) {
  const ProgramOutcome dom = run_program(
      {"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
       "--user-data-dir=" + profile.string(), "--dump-dom", "file://" + page.string()});
  REQUIRE(dom.exit_code == 0);
  return dom.out;
}

}  // namespace

TEST_CASE("no text of a figure is run by gnuplot") {
  const TempFolder folder;
  const fs::path canary = folder / "canary";
  REQUIRE(run_program({"gnuplot", "-e", "system('touch " + canary.string() + "')"}).exit_code == 0);
  REQUIRE(fs::remove(canary));

  const std::vector<std::string> attacks = gnuplot_attacks(canary);
  const auto text = [&](std::size_t i) { return attacks[i % attacks.size()]; };
  for (std::size_t i = 0; i < attacks.size(); i += 4) {
    Plot plot{text(i), {text(i + 1)}, {text(i + 2)}};
    for (std::size_t k = 0; k < 3; ++k)
      plot.series.push_back({text(i + k), SeriesStyle::line_points, {1, 2}, {1, 2}});
    plot.diagonal = text(i + 3);
    plot.caption = text(i + 3);
    draw(plot);
    CHECK_FALSE(fs::exists(canary));

    MatrixPlot matrix{text(i), {text(i + 1), text(i + 2)}, {{1, 2}, {3, 4}}};
    matrix.row_label = text(i + 3);
    matrix.column_label = text(i);
    draw(matrix);
    CHECK_FALSE(fs::exists(canary));

    BarChart bars;
    bars.title = text(i);
    bars.value_label = text(i + 1);
    bars.groups = {text(i + 2), text(i + 3)};
    bars.series = {{text(i), {1, 2}}, {text(i + 1), {2, 1}}};
    draw(bars);
    bars.dots = true;
    draw(bars);
    CHECK_FALSE(fs::exists(canary));
  }
}

TEST_CASE("no text of a report is run by a browser, with and without its content policy") {
  if (!have_program("chromium", "no hostile report was opened in a browser")) return;
  const TempFolder folder;
  const auto write = [&](const std::string& html) {
    std::ofstream(folder / "page.html") << html;
    return folder / "page.html";
  };
  const std::string ran = "data-canary=\"ran\"";
  REQUIRE(contains(
      dom_of(write("<html><body>" + page_attacks()[0] + "</body></html>"), folder / "profile"),
      ran));

  Report report(page_attacks()[1], page_attacks()[2]);
  for (const std::string& text : page_attacks()) {
    Plot plot{text, {text}, {text}};
    plot.series = {{text, SeriesStyle::line, {1, 2}, {1, 2}}};
    Figure figure = draw(plot);
    figure.caption = text;
    const Table table{text, {{text}, {"2: " + text}}, {{text, text}}, 0, {text}};
    report.section(text).paragraph(text).list({text}).note(text).warning(text).code(text);
    report.subsection(text).key_values({{text, text}}).table(table).figure(figure);
    report.begin_details(text, true).paragraph(text).end_details().files({{text, text}});
  }
  std::string html = report.html();
  CHECK_FALSE(contains(dom_of(write(html), folder / "profile"), ran));
  // The page's own policy forbids scripts; escaping must hold without it.
  const std::string policy = "default-src 'none'";
  const std::size_t at = html.find(policy);
  REQUIRE(at != std::string::npos);
  html.replace(at, policy.size(), "default-src * data: 'unsafe-inline'");
  const std::string dom = dom_of(write(html), folder / "profile");
  CHECK(contains(dom, "unsafe-inline"));
  CHECK_FALSE(contains(dom, ran));
  CHECK_FALSE(contains(dom, "<script"));
  CHECK_FALSE(contains(dom, "<iframe"));
}
