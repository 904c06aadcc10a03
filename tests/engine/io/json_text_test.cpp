#include "engine/io/json_text.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "engine/io/config.h"
#include "engine/runtime/philox.h"
#include "tests/support/temp_folder.h"

using namespace thorax;

TEST_CASE("any bytes become UTF-8 and come back; what is UTF-8 stays as it is") {
  CHECK(to_json_text("röntgen 胸.png") == "röntgen 胸.png");
  CHECK(to_json_text("r\xf6ntgen") ==
        "r\xef\xbf\xbd"
        "f6ntgen");
  for (const std::string text :
       {"", "plain", "\xf6", "\xef\xbf\xbd",
        "\xef\xbf\xbd"
        "f6",
        "\xed\xa0\x80", "\xc0\xaf", "a\xe2\x82", "\xf5\x80\x80\x80", "\x1b[2J\n"}) {
    CAPTURE(nlohmann::json(to_json_text(text)).dump());
    CHECK(from_json_text(to_json_text(text)) == text);
  }
  Philox random(3);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 12; ++i)
      text +=
          "\xef\xbf\xbd\xf6\xc3\xb6"
          "a0f"[random.below(9)];
    const std::string json = nlohmann::json(to_json_text(text)).dump();  // throws unless UTF-8
    CHECK(from_json_text(nlohmann::json::parse(json).get<std::string>()) == text);
  }
}

TEST_CASE("names of any bytes survive files of JSON") {
  test::TempFolder folder;
  const nlohmann::json value{{"name", "b\xff.png"}, {"list", {"\xef\xbf\xbd", 1, nullptr}}};
  save_json(folder / "x.json", value);
  CHECK(load_json(folder / "x.json") == value);
  CHECK(parse_json(dump_json(value), "text") == value);
  CHECK(dump_json(nlohmann::ordered_json{{"b", 1}, {"a", "ä"}}) == R"({"b":1,"a":"ä"})");
}
