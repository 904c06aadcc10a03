#include "engine/io/config.h"

#include <doctest/doctest.h>

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
