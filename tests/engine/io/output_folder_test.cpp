#include "engine/io/output_folder.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"
#include "tests/support/temp_folder.h"

using namespace thorax;
namespace fs = std::filesystem;

TEST_CASE("where no file can be written is known at once, and where one can nothing changes") {
  const test::TempFolder t;
  check_output_file(t / "new.csv");
  CHECK(fs::is_empty(t.path()));
  atomic_write(t / "old.csv", std::string_view("kept"));
  check_output_file(t / "old.csv");
  CHECK(read_file(t / "old.csv", 100) == "kept");
  const auto refused = [&](const fs::path& file) {
    CHECK_THROWS_WITH_AS(check_output_file(file), doctest::Contains(file.c_str()), Error);
  };
  refused(t.path());
  refused(t / "gone/x.csv");
  refused(t / "old.csv/x.csv");
  CHECK_THROWS_WITH_AS(check_output_file(t / ""), doctest::Contains("[io]"), Error);
  // A pipe would be replaced by a file.
  REQUIRE(::mkfifo((t / "pipe").c_str(), 0600) == 0);
  refused(t / "pipe");
  CHECK(fs::is_fifo(t / "pipe"));
}
