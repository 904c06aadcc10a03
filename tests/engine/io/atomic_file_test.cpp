#include "engine/io/atomic_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fstream>

#include "engine/tensor/error.h"
#include "tests/support/full_disk.h"
#include "tests/support/temp_folder.h"

using namespace thorax;

namespace {
int files_in(const std::filesystem::path& folder) {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}
}  // namespace

TEST_CASE("a file is replaced whole and read back") {
  test::TempFolder folder;
  const auto path = folder / "a.json";
  atomic_write(path, std::string_view("first"));
  atomic_write(path, std::string_view("second version"));
  CHECK(read_file(path, 100) == "second version");
  CHECK(read_bytes(path, 100).size() == 14);
  atomic_write(path, std::string_view(""));
  CHECK(read_file(path, 0).empty());
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("a full disk leaves the old file and no temporary file") {
  test::TempFolder folder;
  const auto path = folder / "a.bin";
  atomic_write(path, std::string_view("old"));
  const std::string large(100'000, 'x');
  {
    test::FullDisk full(65536);
    CHECK_THROWS_WITH_AS(atomic_write(path, std::string_view(large)),
                         doctest::Contains("a.bin: write failed"), Error);
  }
  CHECK(read_file(path, 100) == "old");
  CHECK(files_in(folder.path()) == 1);
  atomic_write(path, std::string_view(large));
  CHECK(read_file(path, 1 << 20) == large);
}

TEST_CASE("an uncommitted file disappears") {
  test::TempFolder folder;
  {
    AtomicFile file(folder / "b");
    file.write(std::string_view("half"));
    CHECK(files_in(folder.path()) == 1);
  }
  CHECK(files_in(folder.path()) == 0);
}

TEST_CASE("errors name the file and the reason") {
  test::TempFolder folder;
  CHECK_THROWS_WITH_AS(atomic_write(folder / "no/such/file", std::string_view("x")),
                       doctest::Contains("no/such/file: cannot be written: No such file"), Error);
  std::filesystem::create_directories(folder / "folder/inside");
  CHECK_THROWS_WITH_AS(atomic_write(folder / "folder", std::string_view("x")),
                       doctest::Contains("folder: rename failed"), Error);
  CHECK_THROWS_WITH_AS(read_file(folder / "absent", 10),
                       doctest::Contains("absent: cannot be read: No such file"), Error);
  CHECK_THROWS_WITH_AS(read_file(folder / "folder", 10),
                       doctest::Contains("folder: is not a regular file"), Error);
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK_THROWS_WITH_AS(read_file(folder / "pipe", 10),
                       doctest::Contains("pipe: is not a regular file"), Error);
  atomic_write(folder / "long", std::string_view("123456"));
  CHECK_THROWS_WITH_AS(read_file(folder / "long", 5), doctest::Contains("6 bytes, the limit is 5"),
                       Error);
  const InputFile input(folder / "long");
  std::byte buffer[4];
  CHECK_THROWS_WITH_AS(input.read(4, buffer), doctest::Contains("ends at byte 6, 2 more expected"),
                       Error);
}

TEST_CASE("leftovers of killed processes are removed, those of living ones are not") {
  test::TempFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFile* file = new AtomicFile(folder / "c");
    file->write(std::string_view("half"));
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  std::ofstream(folder / "c.tmp-1-0") << "process 1 lives";
  std::ofstream(folder / "c.tmp-notes") << "not ours";
  CHECK(files_in(folder.path()) == 3);
  remove_leftovers(folder / "c");
  CHECK(files_in(folder.path()) == 2);
  CHECK(std::filesystem::exists(folder / "c.tmp-1-0"));
}
