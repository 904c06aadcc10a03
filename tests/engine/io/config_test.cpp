#include "engine/io/config.h"

#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"
#include "tests/support/temp_folder.h"

using namespace thorax;
using nlohmann::json;

namespace {
ConfigObject config(const char* text) {
  return ConfigObject(parse_json(text, "run.json"), "run.json");
}
}  // namespace

TEST_CASE("values are read with their types, defaults fill in, null counts as absent") {
  const ConfigObject c = config(
      R"({"a":1.5,"b":3,"c":true,"d":"x","e":[1,2],"f":["p"],"g":{"h":2},"n":null,"o":[{"k":1}]})");
  CHECK(c.number("a") == 1.5);
  CHECK(c.number("b") == 3);
  CHECK(c.integer("b") == 3);
  CHECK(c.boolean("c"));
  CHECK(c.text("d") == "x");
  CHECK(c.choice("d", {"x", "y"}) == "x");
  CHECK(c.integers_or("e", {}) == std::vector<std::int64_t>{1, 2});
  CHECK(c.numbers_or("e", {}) == std::vector<double>{1, 2});
  CHECK(c.texts_or("f", {}) == std::vector<std::string>{"p"});
  CHECK(c.object("g").integer("h") == 2);
  CHECK(c.objects("o").at(0).integer("k") == 1);
  CHECK(c.integer_or("n", 7) == 7);
  CHECK(c.integer_or("absent", 8) == 8);
  CHECK(!c.object("none").has("x"));
  c.finish();
}

TEST_CASE("an unknown key is named with its nearest neighbour, file and path") {
  const ConfigObject c = config(R"({"training":{"epohcs":3}})");
  const ConfigObject training = c.object("training");
  CHECK(training.integer_or("epochs", 1) == 1);
  CHECK(training.integer_or("batch", 1) == 1);
  CHECK_THROWS_WITH_AS(training.finish(),
                       "[config] run.json: training.epohcs: unknown key; did you mean 'epochs'?",
                       Error);
  const ConfigObject far = config(R"({"zzzzzzzz":3})");
  (void)far.integer_or("epochs", 1);
  CHECK_THROWS_WITH_AS(far.finish(), "[config] run.json: zzzzzzzz: unknown key; known are: epochs",
                       Error);
}

TEST_CASE("wrong types, ranges and choices are named with the path") {
  const ConfigObject c =
      config(R"({"a":"x","b":2.5,"c":-1,"d":{"e":[1,"y"]},"f":18446744073709551615})");
  CHECK_THROWS_WITH_AS(c.number("a"), "[config] run.json: a: the text \"x\" instead of a number",
                       Error);
  CHECK_THROWS_WITH_AS(c.integer("b"),
                       "[config] run.json: b: the number 2.5 instead of a whole number", Error);
  CHECK_THROWS_WITH_AS(c.integer("f"), doctest::Contains("instead of a whole number"), Error);
  CHECK_THROWS_WITH_AS(c.integer("c", 0), "[config] run.json: c: -1 is below 0", Error);
  CHECK_THROWS_WITH_AS(c.number("b", 0, 1), "[config] run.json: b: 2.5 is not within 0..1", Error);
  CHECK_THROWS_WITH_AS(c.number("none"), "[config] run.json: none: is missing", Error);
  CHECK_THROWS_WITH_AS(c.object("d").integers_or("e", {}),
                       doctest::Contains("d.e: [1,\"y\"] instead of an array of whole numbers"),
                       Error);
  CHECK_THROWS_WITH_AS(
      c.object("a"), doctest::Contains("run.json: a: the text \"x\" instead of an object"), Error);
  CHECK_THROWS_WITH_AS(config(R"({"o":"sdg"})").choice("o", {"sgd", "adamw"}),
                       doctest::Contains("'sdg' is not one of sgd, adamw; did you mean 'sgd'?"),
                       Error);
}

TEST_CASE("broken JSON, duplicate keys and deep nesting are errors that name the file") {
  CHECK_THROWS_WITH_AS(config("{"), doctest::Contains("[config] run.json: parse error"), Error);
  CHECK_THROWS_WITH_AS(config("[]"), doctest::Contains("an array instead of an object"), Error);
  CHECK_THROWS_WITH_AS(config(R"({"a":{"b":1,"b":2}})"), "[config] run.json: key 'b' appears twice",
                       Error);
  CHECK_THROWS_WITH_AS(parse_json(std::string(100'000, '['), "f"),
                       doctest::Contains("nested deeper than 64"), Error);
  test::TempFolder folder;
  CHECK_THROWS_WITH_AS(load_json(folder / "x.json"), doctest::Contains("x.json: cannot be read"),
                       Error);
  save_json(folder / "x.json", {{"a", 1}});
  CHECK(load_json(folder / "x.json") == json{{"a", 1}});
}

namespace {

constexpr const char* kToml = R"(# Settings of a run.
epochs = 3        # as many as patience allows
data = ["folder:a", 'folder:b']
"validation share" = 0.25
on = true

[schedule]
name = "cosine"
warmup.steps = 50

[[rows]]
view = "lungs"
[[rows]]
view = "whole"
)";
constexpr const char* kJson = R"({
  "epochs": 3, "data": ["folder:a", "folder:b"],
  "validation share": 0.25,
  "on": true, "schedule": {"name": "cosine",
    "warmup": {"steps": 50}},
  "rows": [{"view": "lungs"},
           {"view": "whole"}]
})";

}  // namespace

TEST_CASE("TOML has the values of the same JSON, and both know the line of each key") {
  test::TempFolder folder;
  std::ofstream(folder / "c.toml") << kToml;
  std::ofstream(folder / "c.json") << kJson;
  ConfigLines toml, written;
  CHECK(load_config_file(folder / "c.toml", &toml) ==
        load_config_file(folder / "c.json", &written));
  CHECK(toml == ConfigLines{{"epochs", 2},
                            {"data", 3},
                            {"validation share", 4},
                            {"on", 5},
                            {"schedule", 7},
                            {"schedule.name", 8},
                            {"schedule.warmup", 9},
                            {"schedule.warmup.steps", 9},
                            {"rows", 11},
                            {"rows[0].view", 12},
                            {"rows[1].view", 14}});
  CHECK(written == ConfigLines{{"epochs", 2},
                               {"data", 2},
                               {"validation share", 3},
                               {"on", 4},
                               {"schedule", 4},
                               {"schedule.name", 4},
                               {"schedule.warmup", 5},
                               {"schedule.warmup.steps", 5},
                               {"rows", 6},
                               {"rows[0].view", 6},
                               {"rows[1].view", 7}});
}

TEST_CASE("errors of a configuration file name the line") {
  test::TempFolder folder;
  const auto loaded = [&](const char* name, const std::string& text) {
    std::ofstream(folder / name) << text;
    return ConfigObject::load(folder / name);
  };
  for (const char* name : {"c.toml", "c.json"}) {
    CAPTURE(name);
    const bool toml = std::string(name) == "c.toml";
    const ConfigObject c =
        loaded(name, toml ? "# first\nepochs = 2.5\n[schedule]\nwarmpu = 3\n"
                          : "{\n\"epochs\": 2.5, \"schedule\":\n\n{\"warmpu\": 3}}");
    const std::string start = "[config] " + (folder / name).string();
    CHECK_THROWS_WITH_AS(c.integer("epochs"),
                         (start + ":2: epochs: the number 2.5 instead of a whole number").c_str(),
                         Error);
    const ConfigObject schedule = c.object("schedule");
    CHECK(schedule.number_or("warmup", 1) == 1);
    CHECK_THROWS_WITH_AS(
        schedule.finish(),
        (start + ":4: schedule.warmpu: unknown key; did you mean 'warmup'?").c_str(), Error);
    CHECK_THROWS_WITH_AS(c.text("none"), (start + ": none: is missing").c_str(), Error);
  }
  // What is no TOML, and what no setting is.
  const auto refused = [&](const std::string& text) -> std::string {
    try {
      parse_toml(text, "c.toml");
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing";
  };
  CHECK(refused("a = 1\nb = \n").starts_with("[config] c.toml:2: "));
  CHECK(refused("a = 1\n\na = 2\n").starts_with("[config] c.toml:3: "));
  CHECK(refused("a = 1\nb.c = inf\n") == "[config] c.toml:2: b.c: is no finite number");
  CHECK(refused("b = [1, 2000-01-01]").starts_with("[config] c.toml:1: b[1]: is a date"));
  CHECK(refused("a = " + std::string(65, '[') + std::string(65, ']')) ==
        "[config] c.toml: nested deeper than 64");
}
