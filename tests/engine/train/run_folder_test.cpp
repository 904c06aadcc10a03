#include "engine/train/run_folder.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/tensor/error.h"
#include "tests/support/temp_folder.h"

using namespace thorax;
using nlohmann::json;

TEST_CASE("a run folder records configuration and provenance, and is not written over") {
  test::TempFolder base;
  const auto path = base / "runs/first";
  const json config{{"lr", 0.1}, {"model", {{"name", "unet"}}}};
  {
    const RunFolder run(path, IfExists::refuse, config, 7, "abc");
    CHECK(!run.resumed());
    CHECK(std::filesystem::is_directory(run.fold(2)));
    CHECK(run.fold(2) == path / "fold_2");
    CHECK(std::filesystem::is_directory(run.crossval()));
    CHECK((run / "splits.json") == path / "splits.json");
  }
  CHECK(load_json(path / "config.json") == config);
  const json history = load_json(path / "provenance.json");
  REQUIRE(history.size() == 1);
  CHECK(history[0]["seed"] == 7);
  CHECK(history[0]["data_checksum"] == "abc");
  for (const char* key : {"time", "thorax", "commit", "compiler", "processor", "threads", "device"})
    CHECK_MESSAGE(history[0].contains(key), key);
  CHECK_THROWS_WITH_AS(RunFolder(path, IfExists::refuse, config, 7),
                       doctest::Contains("holds a run already; --resume goes on"), Error);
  CHECK(RunFolder(path, IfExists::resume, config, 7, "abc").resumed());
  CHECK(load_json(path / "provenance.json").size() == 2);
  json other = config;
  other["model"]["name"] = "hrnet";
  CHECK_THROWS_WITH_AS(RunFolder(path, IfExists::resume, other, 7),
                       doctest::Contains("model.name (\"unet\", now \"hrnet\")"), Error);
  CHECK_THROWS_WITH_AS(RunFolder(path, IfExists::resume, config, 7, "xyz"),
                       doctest::Contains("the data has changed"), Error);
  CHECK(!RunFolder(path, IfExists::overwrite, other, 7).resumed());
  CHECK(load_json(path / "config.json") == other);
  CHECK(!std::filesystem::exists(path / "fold_2"));
  CHECK(load_json(path / "provenance.json").size() == 1);
}

TEST_CASE("a folder that no run made is left alone") {
  test::TempFolder base;
  atomic_write(base / "thesis.txt", std::string_view("years of work"));
  for (const IfExists mode : {IfExists::refuse, IfExists::resume, IfExists::overwrite})
    CHECK_THROWS_AS(RunFolder(base.path(), mode, json::object(), 1), Error);
  CHECK(read_file(base / "thesis.txt", 100) == "years of work");
  CHECK_THROWS_WITH_AS(RunFolder(base / "thesis.txt", IfExists::refuse, json::object(), 1),
                       doctest::Contains("is not a folder"), Error);
  CHECK(!RunFolder(base / "new", IfExists::resume, json::object(), 1).resumed());
}
