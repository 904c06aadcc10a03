// `thorax bench data`: a row of every stage and format, numbers that belong together, refusals.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "data/csv.h"
#include "data/encode.h"
#include "engine/io/atomic_file.h"
#include "tests/apps/commands.h"

using namespace thorax;
using namespace thorax::test;
using nlohmann::json;

TEST_CASE("bench data: a row for every stage and format; CSV and JSON agree") {
  const TemporaryFolder t;
  const ImageU8 image(48, 64, 1, 90);
  for (const char* name : {"a.png", "b.png", "c.jpg"}) save_image(t / name, image);
  const std::string text = run({"bench", "data", t.path().string(), "--size", "32", "--repeats",
                                "3", "--json", "--csv", t / "d.csv"});
  const json rows = json::parse(text.substr(text.find('[')));
  const CsvTable table = CsvTable::read(t / "d.csv");
  REQUIRE(table.rows() == static_cast<std::int64_t>(rows.size()));
  std::set<std::pair<std::string, std::string>> seen;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const json& row = rows[i];
    INFO(row.dump());
    seen.emplace(row["format"], row["stage"]);
    CHECK(row["images"] == (row["format"] == "png" ? 2 : 1));
    CHECK(row["megapixels"].get<double>() ==
          doctest::Approx(row["stage"] == "augment" ? 32 * 32e-6 : 48 * 64e-6));
    REQUIRE(row["median_ms"].get<double>() > 0);
    CHECK(row["spread_ms"].get<double>() >= 0);
    CHECK(row["images_per_second"].get<double>() ==
          doctest::Approx(1e3 / row["median_ms"].get<double>()));
    const auto at = static_cast<std::int64_t>(i);
    for (const char* column : {"stage", "format", "reader"})
      CHECK(table.at(at, table.column(column)) == row[column].get<std::string>());
    CHECK(std::stod(table.at(at, table.column("median_ms"))) ==
          doctest::Approx(row["median_ms"].get<double>()).epsilon(1e-4));
  }
  CHECK(seen.size() == rows.size());
  for (const char* format : {"jpeg", "png"})
    for (const char* stage : {"check", "samples", "decode", "resize", "augment"})
      CHECK(seen.contains({format, stage}));
}

TEST_CASE("bench data: phantoms need no files") {
  const std::string text =
      run({"bench", "data", "--phantoms", "2", "--size", "64", "--repeats", "1"});
  CHECK_MESSAGE(has(text, "decode   png"), text);
  CHECK_MESSAGE(has(text, "0.262"), text);  // megapixels of 512 x 512
}

TEST_CASE("bench data: refusals") {
  const TemporaryFolder t;
  atomic_write(t / "bad.png", "no image");
  const auto refused = [](const Arguments& more, const char* text) {
    const Outcome outcome = run_thorax(Arguments{"bench", "data"} + more);
    CHECK(outcome.exit_code != 0);
    CHECK_MESSAGE(has(outcome.output, text), outcome.output);
  };
  refused({}, "no images; name image files or folders, or give --phantoms N");
  refused({t / "bad.png", "--phantoms", "1"}, "both images and --phantoms");
  refused({t / "bad.png"}, "bad.png");
  refused({t / "none.png"}, "no such file or folder");
  refused({"--phantoms", "0"}, "0 is not within 1 to 100000");
  refused({"--phantoms", "1", "--csv", "/nowhere/d.csv"}, "/nowhere");
}
