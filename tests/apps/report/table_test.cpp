// Text, CSV, JSON and HTML of tables, on ordinary and on hostile cells.
#include "apps/report/table.h"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/report/text.h"
#include "data/csv.h"
#include "tests/apps/report/support.h"

using namespace thorax;
using namespace thorax::app;
using namespace thorax::test;

namespace {

Table folds() {
  Table t{"Folds",
          {{"fold"},
           {"images", CellKind::integer},
           {"accuracy", CellKind::percent, 2},
           {"loss", CellKind::number, 4},
           {"AUC", CellKind::number, 3}},
          {}};
  t.rows = {{std::string("1"), std::int64_t{9}, 1.0, 0.5, Interval{0.97, 0.9, 0.99}},
            {std::string("z\u00E9ro"), std::int64_t{120}, 0.975609756097561, -0.00001, 1.0},
            {std::string("mean"), {}, 0.98780487, std::nan(""), {}}};
  t.summary_rows = 1;
  t.notes = {"A note."};
  return t;
}

}  // namespace

TEST_CASE("text: columns align, by character and not by byte; summary rows are set off") {
  CHECK(to_text(folds()) ==
        "Folds\n"
        "fold  images  accuracy (%)    loss                     AUC\n"
        "----------------------------------------------------------\n"
        "1          9        100.00  0.5000  0.970 (0.900 to 0.990)\n"
        "z\u00E9ro     120         97.56  0.0000                   1.000\n"
        "----------------------------------------------------------\n"
        "mean       -         98.78       -                       -\n"
        "A note.\n");
}

TEST_CASE("CSV: quoting is RFC 4180, numbers come back bit for bit, intervals become columns") {
  Table t = folds();
  const std::string nasty = "a,b \"c\"\nd";
  t.rows[0][0] = nasty;
  const CsvTable csv = CsvTable::parse(to_csv(t), "table");
  CHECK(csv.columns() == std::vector<std::string>{"fold", "images", "accuracy", "loss", "AUC",
                                                  "AUC low", "AUC high"});
  REQUIRE(csv.rows() == 3);
  CHECK(csv.at(0, 0) == nasty);
  CHECK(std::stod(csv.at(1, csv.column("accuracy"))) == 0.975609756097561);
  CHECK(csv.at(0, csv.column("AUC low")) == "0.9");
  CHECK(csv.at(1, csv.column("AUC")) == "1");
  CHECK(csv.at(1, csv.column("AUC low")).empty());
  CHECK(csv.at(2, csv.column("images")).empty());
  CHECK(csv.at(2, csv.column("loss")).empty());
}

TEST_CASE("JSON: nothing and NaN are null, intervals are objects, summary rows apart") {
  const auto json = to_json(folds());
  CHECK(json.at("rows").size() == 2);
  CHECK(json.at("rows")[0].at("AUC").at("high") == 0.99);
  CHECK(json.at("rows")[1].at("images") == 120);
  CHECK(json.at("summary_rows")[0].at("loss").is_null());
  CHECK(json.at("columns")[2].at("kind") == "percent");
  // Bytes that are no UTF-8 must not make dump() throw.
  Table t = folds();
  t.rows[0][0] = std::string("caf\xE9 \xF0\x9F");
  CHECK(nlohmann::json::parse(to_json(t).dump()).at("rows")[0].at("fold") ==
        "caf\uFFFD \uFFFD\uFFFD");
}

TEST_CASE("HTML: balanced, and every text is escaped") {
  Table t = folds();
  t.title = "<script>alert(1)</script>";
  t.columns[0].name = "a\"b<c>&amp;";
  t.rows[0][0] = std::string("</td></table><img src=x onerror=alert(1)> ]]>");
  t.notes = {"'quoted' & <b>"};
  const XmlCheck xml = check_xml(to_html(t));
  CHECK(xml.error == "");
  CHECK_FALSE(xml.has("script"));
  CHECK_FALSE(xml.has("img"));
  CHECK_FALSE(xml.has("b"));
  CHECK(contains(xml.text, "</td></table><img src=x onerror=alert(1)> ]]>"));
  CHECK(contains(xml.text, "a\"b<c>&amp;"));
}

TEST_CASE("a terminal is sent no control characters") {
  Table t = folds();
  t.rows[0][0] = std::string("\x1B[31mred\x07 line\nbreak \u202Egnp.exe");
  const std::string text = to_text(t);
  CHECK(text.find('\x1B') == std::string::npos);
  CHECK(text.find('\x07') == std::string::npos);
  CHECK_FALSE(contains(text, "\u202E"));
  CHECK(contains(text, "line break"));
}

TEST_CASE("a table that contradicts itself is refused, naming it") {
  Table t = folds();
  t.rows[1].pop_back();
  CHECK_REFUSED(to_text(t), "[table] Folds: row 2 has 4 cells for 5 columns");
  t = folds();
  t.rows[0][1] = 0.5;
  CHECK_REFUSED(to_csv(t), "row 1: a cell of column 'images' is no integer");
  t = folds();
  t.rows[0][0] = 0.5;
  CHECK_REFUSED(to_html(t), "is no text");
  t = folds();
  t.columns[1].name = "fold";
  CHECK_REFUSED(to_json(t), "two columns are named 'fold'");
  t = folds();
  t.summary_rows = 4;
  CHECK_REFUSED(to_text(t), "4 summary rows of 3 rows");
  CHECK_REFUSED(to_text(Table{"empty", {}, {}}), "has no columns");
}

TEST_CASE("save_table writes the three forms") {
  const TempFolder folder;
  save_table(folds(), folder / "folds");
  CHECK(CsvTable::read(folder / "folds.csv").rows() == 3);
  CHECK(std::filesystem::exists(folder / "folds.json"));
  CHECK(std::filesystem::exists(folder / "folds.txt"));
}

TEST_CASE("malformed UTF-8 is replaced byte by byte, what is well-formed stays") {
  CHECK(clean_text("\u00E9\u20AC\U0001F600") == "\u00E9\u20AC\U0001F600");
  CHECK(clean_text("\xC0\xAF") == "\uFFFD\uFFFD");                      // overlong
  CHECK(clean_text("\xED\xA0\x80") == "\uFFFD\uFFFD\uFFFD");            // a surrogate
  CHECK(clean_text("\xF4\x90\x80\x80") == "\uFFFD\uFFFD\uFFFD\uFFFD");  // above U+10FFFF
  CHECK(clean_text("\xE2\x82") == "\uFFFD\uFFFD");                      // cut short
  CHECK(clean_text(std::string("a\0b", 3)) == "a\uFFFDb");
  CHECK(text_columns("z\u00E9ro e\u0301") == 6);
}

TEST_CASE("base64: the vectors of RFC 4648") {
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foobar") == "Zm9vYmFy");
  CHECK(base64("\xFF\xFE\xFD") == "//79");
}
