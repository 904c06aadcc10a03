// `thorax bench`: its numbers belong together, and what it refuses.
#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "tests/support/program.h"

using namespace thorax::test;
using nlohmann::json;

namespace {
std::vector<std::string> census(const std::vector<std::string>& more, const char* size = "64",
                                const char* batch = "2") {
  std::vector<std::string> all{"bench",  "census", "--model", "resnet18",
                               "--size", size,     "--batch", batch};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}
}  // namespace

TEST_CASE("bench census: rows add up, waves are those of the card, CSV and JSON say the same") {
  const TemporaryFolder t;
  for (const auto& [device, processors] : {std::pair{"sim", 40}, {"sim:2", 132}}) {
    const Outcome outcome =
        run_thorax(census({"--device", device, "--json", "--csv", t / "c.csv"}));
    INFO(outcome.output);
    REQUIRE(outcome.exit_code == 0);
    const json said = json::parse(outcome.output);
    CHECK(said["multiprocessors"] == processors);
    CHECK(said["fills"].get<int>() >= 0);
    const thorax::CsvTable table = thorax::CsvTable::read(t / "c.csv");
    REQUIRE(table.rows() == static_cast<std::int64_t>(said["rows"].size()));
    std::int64_t launches = 0, small = 0, under = 0, adamw = 0;
    for (std::size_t i = 0; i < said["rows"].size(); ++i) {
      const json& row = said["rows"][i];
      const auto at = static_cast<std::int64_t>(i);
      CHECK(table.at(at, table.column("kernel")) == row["kernel"].get<std::string>());
      CHECK(table.at(at, table.column("launches")) == std::to_string(row["launches"].get<int>()));
      if (row["kernel"] == "fill" || row["kernel"] == "copy") continue;
      launches += row["launches"].get<int>();
      if (row["operation"] == "adamw") adamw += row["launches"].get<int>();
      if (row["blocks"].get<int>() < processors) small += row["launches"].get<int>();
      CHECK_MESSAGE(row["resident_blocks"].get<int>() > 0, row.dump());
      const double waves =
          row["blocks"].get<double>() / (row["resident_blocks"].get<double>() * processors);
      CHECK(row["waves"].get<double>() == doctest::Approx(waves));
      if (waves < 1) under += row["launches"].get<int>();
    }
    CHECK(said["launches"] == launches);
    CHECK(said["fewer_blocks_than_multiprocessors"] == small);
    CHECK(said["under_one_wave"] == under);
    CHECK(adamw > 0);
    // Parameters, gradients and AdamW's two moments are there at once.
    CHECK(said["peak_tensor_bytes"].get<double>() > 4.0 * 4 * 11'000'000);
  }
}

TEST_CASE("bench census: inference launches less than training, 16 bits take less memory") {
  const auto json_of = [](const std::vector<std::string>& more, const char* batch = "2") {
    const Outcome outcome = run_thorax(census(more, "64", batch));
    INFO(outcome.output);
    REQUIRE(outcome.exit_code == 0);
    return json::parse(outcome.output);
  };
  const json train = json_of({"--json"}), infer = json_of({"--json", "--mode", "infer"});
  CHECK(infer["launches"].get<int>() * 3 < train["launches"].get<int>());
  const json large = json_of({"--json"}, "128");
  const json half = json_of({"--json", "--precision", "float16"}, "128");
  CHECK(half["peak_tensor_bytes"].get<double>() < 0.8 * large["peak_tensor_bytes"].get<double>());
  CHECK(run_thorax(census({})).output.find("nothing ran") != std::string::npos);
}

TEST_CASE("bench census: refusals") {
  const auto refused = [](const std::vector<std::string>& more, const char* text,
                          const char* batch = "2") {
    const Outcome outcome = run_thorax(census(more, "64", batch));
    CHECK(outcome.exit_code != 0);
    CHECK_MESSAGE(outcome.output.find(text) != std::string::npos, outcome.output);
  };
  refused({"--device", "cpu"}, "[bench] launches are counted on a simulated device");
  refused({"--precision", "int8"}, "int8");
  refused({"--csv", "/nowhere/c.csv"}, "/nowhere");
  refused({}, "0 is not within 1 to 4096", "0");
  const Outcome large = run_thorax(census({}, "224", "512"));
  CHECK(large.exit_code == 0);
  CHECK_MESSAGE(large.output.find("more than the card has") != std::string::npos, large.output);
}
