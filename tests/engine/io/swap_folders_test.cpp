#include "engine/io/swap_folders.h"

#include <doctest/doctest.h>

#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"
#include "tests/support/temp_folder.h"

using namespace thorax;

TEST_CASE("two folders get each other's name, at one moment or in three steps") {
  for (const SwapWay way : {SwapWay::best, SwapWay::three_renames}) {
    test::TempFolder t;
    create_folders(t / "a");
    create_folders(t / "b");
    atomic_write(t / "a/file", std::string_view("was a"));
    atomic_write(t / "b/file", std::string_view("was b"));
    swap_folders(t / "a", t / "b", t / "between", way);
    CHECK(read_file(t / "a/file", 10) == "was b");
    CHECK(read_file(t / "b/file", 10) == "was a");
    CHECK(!std::filesystem::exists(t / "between"));
    CHECK_THROWS_WITH_AS(swap_folders(t / "none", t / "b", t / "between", way),
                         doctest::Contains("b: cannot be moved aside: No such file"), Error);
    CHECK(read_file(t / "b/file", 10) == "was a");
    CHECK(!std::filesystem::exists(t / "between"));
  }
}
