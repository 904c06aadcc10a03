// The report: balanced, escaped, self-contained; and it opens in a browser.
#include "apps/report/report.h"

#include <doctest/doctest.h>

#include <fstream>

#include "data/decode.h"
#include "data/encode.h"
#include "tests/apps/report/support.h"

using namespace thorax;
using namespace thorax::app;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

constexpr const char* kAttack =
    "</p></title></style><script>alert(1)</script><img src=\"https://example.org/x.png\" "
    "onerror='alert(2)'> \"' ]]> &amp; <!-- \x01 \xFF";

Figure curve(const std::string& title) {
  Plot p{title, {"epoch"}, {"loss"}};
  p.series = {{title, SeriesStyle::line_points, {1, 2, 3}, {3, 2, 1}}};
  return draw(p);
}

ImageU8 gradient() {
  ImageU8 image(32, 48);
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 48; ++x) image.at(y, x) = static_cast<std::uint8_t>(5 * x);
  return image;
}

// A report with one of everything, every text being `text`.
Report everything(const std::string& text) {
  Report report(text, text);
  Figure figure = curve(text);
  figure.caption = text;
  const Table table{text, {{text}, {"n", CellKind::integer}}, {{text, std::int64_t{1}}}, 0, {text}};
  report.section(text).paragraph(text).list({text, text}).note(text).warning(text);
  report.key_values({{text, text}}).table(table).code(text);
  report.section("Pictures").subsection(text).figures({figure, figure}).subsection("Images");
  report.images({report_image(gradient(), text), report_image(gradient(), "", text)}, 100);
  report.section("Rest").begin_details(text).begin_details("inner", true).paragraph(text);
  report.end_details().end_details().files({{"a b/javascript:\"<x>.csv", text}});
  return report;
}

}  // namespace

TEST_CASE("the page is balanced and refers to nothing outside, whatever the texts are") {
  for (const std::string& text : {std::string("plain"), std::string(kAttack)}) {
    const std::string html = everything(text).html();
    const XmlCheck xml = check_xml(html);
    CHECK(xml.error == "");
    CHECK(outside_references(xml) == "");
    CHECK(contains(html, "<!DOCTYPE html>"));
    CHECK(contains(html, "default-src 'none'"));
    CHECK_FALSE(contains(html, "<script"));
    CHECK_FALSE(contains(html, "@import"));
    CHECK_FALSE(contains(html, "url(http"));
    // Two pictures, each with words for those who cannot see them.
    int pictures = 0;
    for (const XmlElement& e : xml.elements) {
      if (e.name == "img") {
        CHECK(e.attributes.count("alt") == 1);
        ++pictures;
      }
      if (e.name == "svg") {
        CHECK(e.attributes.count("aria-label") == 1);
      }
    }
    CHECK(pictures == 2);
    CHECK(contains(xml.text, text == "plain" ? "plain" : "<script>alert(1)</script>"));
  }
}

TEST_CASE("xmllint finds the page well-formed, too") {
  if (!have_program("xmllint", "the page is only judged by the tests' own reader")) return;
  const TempFolder folder;
  everything(kAttack).write(folder / "report.html");
  CHECK(
      run_program({"xmllint", "--noout", "--nonet", (folder / "report.html").string()}).exit_code ==
      0);
  // A page that is broken must be found broken.
  std::ofstream(folder / "broken.html") << "<html><p></html>";
  CHECK(
      run_program({"xmllint", "--noout", "--nonet", (folder / "broken.html").string()}).exit_code !=
      0);
}

TEST_CASE("the tests' own reader of XML refuses what is broken") {
  for (const char* broken : {"<a><b></a></b>", "<a>", "<a></a><b></b>", "<a x=1></a>",
                             "<a x=\"1\" x=\"2\"/>", "<a>&x;</a>", "<a>& </a>", "<a>]]></a>",
                             "<a x=\"<\"/>", "<a></b>", "text", "", "<a>\x01</a>", "<a b></a>"})
    CHECK_MESSAGE(check_xml(broken).error != "", broken);
  CHECK(check_xml("<?xml version=\"1.0\"?>\n<a x='1'><b/>&amp;</a>\n").error == "");
  CHECK(outside_references(check_xml("<a><img src=\"x.png\"/></a>")) != "");
  CHECK(outside_references(check_xml("<a href=\"#s1\"/>")) != "");
  CHECK(outside_references(check_xml("<a style=\"x: url(http)\"/>")) != "");
}

TEST_CASE("the table of contents has every heading, nested, and leads there") {
  Report report("Run");
  report.section("One").subsection("One A").subsection("One B").section("Two").section("Three");
  report.subsection("Three A");
  const XmlCheck xml = check_xml(report.html());
  CHECK(xml.error == "");
  std::vector<std::string> links;
  for (const XmlElement& e : xml.elements)
    if (e.name == "a") links.push_back(e.attributes.at("href"));
  CHECK(links == std::vector<std::string>{"#s1", "#s1-1", "#s1-2", "#s2", "#s3", "#s3-1"});
  CHECK(outside_references(xml) == "");
}

TEST_CASE("what cannot be shown is refused") {
  Report report("Run");
  CHECK_REFUSED(report.subsection("Early"), "subsection 'Early' stands before the first section");
  CHECK_REFUSED(report.end_details(), "end_details without begin_details");
  CHECK_REFUSED(report.images({{"GIF89a", "moving", ""}}),
                "picture 'moving' is neither PNG nor JPEG");
  CHECK_REFUSED(report.figure(Figure{"undrawn", "", "", "", ""}), "'undrawn' has not been drawn");
  CHECK_REFUSED(report.files({{"/etc/passwd", ""}}), "no path below the report");
  Figure scripted = curve("x");
  scripted.svg.insert(scripted.svg.find("</svg>"), "<script>1</script>");
  CHECK_REFUSED(report.figure(scripted), "contains a script");
  report.begin_details("open");
  CHECK_REFUSED(report.section("Inside"), "stands inside of details");
  CHECK_REFUSED(report.html(), "1 details have no end");
  CHECK_REFUSED(report_image(fs::path("/nonexistent.png"), "x"), "[io] ");
}

TEST_CASE("the report opens in a browser: it is not blank and its sections are there") {
  if (!have_program("chromium", "no report was opened in a browser")) return;
  const TempFolder folder;
  Report report = everything(kAttack);
  report.section("The last section").paragraph("a sentence at the end");
  report.write(folder / "report.html");
  const std::string url = "file://" + (folder / "report.html").string();
  // A profile of its own: nothing of the user's is read or changed.
  const auto browse = [&](std::vector<std::string> options) {
    std::vector<std::string> arguments = {"chromium",
                                          "--headless",
                                          "--no-sandbox",
                                          "--disable-gpu",
                                          "--disable-dev-shm-usage",
                                          "--hide-scrollbars",
                                          "--user-data-dir=" + (folder / "profile").string()};
    arguments.insert(arguments.end(), options.begin(), options.end());
    arguments.push_back(url);
    return run_program(arguments);
  };
  const ProgramOutcome dom = browse({"--dump-dom"});
  REQUIRE(dom.exit_code == 0);
  for (const char* part : {"<h2 id=\"s4\">The last section</h2>", "a sentence at the end", "</svg>",
                           "data:image/png;base64,", "href=\"#s2-1\""})
    CHECK_MESSAGE(contains(dom.out, part), part);
  // Had a text become a tag, the browser would have made an element of it.
  CHECK_FALSE(contains(dom.out, "<script"));
  CHECK_FALSE(contains(dom.out, "<img src=\"https"));

  const std::string shot = (folder / "shot.png").string();
  REQUIRE(browse({"--screenshot=" + shot, "--window-size=1000,3000"}).exit_code == 0);
  const ImageU8 image = to_u8(load_image(shot));
  REQUIRE(image.width == 1000);
  int ink = 0, curve_pixels = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      const int r = image.at(y, x, 0), g = image.at(y, x, 1), b = image.at(y, x, 2);
      ink += r + g + b < 300;
      curve_pixels += r < 30 && std::abs(g - 0x72) < 20 && std::abs(b - 0xB2) < 20;
    }
  CHECK(ink > 2000);          // text
  CHECK(curve_pixels > 100);  // the curve of a figure, in its colour
}
