#include "engine/io/file_name.h"

#include <doctest/doctest.h>

#include "engine/tensor/error.h"

using namespace thorax;

TEST_CASE("a name that becomes a path stays in its folder") {
  for (const char* good : {"covid", "NIH ChestX-ray14", ".hidden", "a..b", "größer", "=1+1"})
    CHECK(FileName(good, "source").text() == good);
  const auto refused = [](const std::string& name, const char* why) {
    CAPTURE(name);
    CHECK_THROWS_WITH_AS(FileName(name, "m.csv, line 3: source"), doctest::Contains(why), Error);
    CHECK_THROWS_WITH_AS(FileName(name, "m.csv, line 3: source"),
                         doctest::Contains("[name] m.csv, line 3: source: '"), Error);
  };
  refused("", "is empty");
  refused("..", "means another folder");
  refused(".", "means another folder");
  refused("../../etc", "holds a '/'");
  refused("/etc", "holds a '/'");
  refused("a\\b", "holds a '/' or '\\'");
  refused("a\nb", "'a?b' becomes a file or folder name and holds a control character");
  refused(std::string("a\0b", 3), "control character");
  refused("a\x1b[2J", "control character");
  refused("-rf", "begins with '-'");
  refused(std::string(151, 'x'), "has 151 bytes, the limit is 150");
}

TEST_CASE("outputs are named after inputs, whatever those are called") {
  CHECK(output_name("image 1").text() == "image 1");
  CHECK(output_name("../a").text() == ".._a");
  CHECK(output_name("..").text() == "_..");
  CHECK(output_name("").text() == "_");
  CHECK(output_name("-rf").text() == "_rf");
  CHECK(output_name("a\nb\x1b").text() == "a_b_");
  CHECK(output_name(std::string(300, 'x')).text() == std::string(150, 'x'));
  // A character of two bytes that the limit would split is left out.
  CHECK(output_name(std::string(149, 'x') + "\u00e4\u00e4").text() == std::string(149, 'x'));
  CHECK(output_name(std::string(148, 'x') + "\u00e4\u00e4").text() ==
        std::string(148, 'x') + "\u00e4");
}
