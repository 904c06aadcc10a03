#include "engine/io/atomic_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "engine/io/output_folder.h"
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

namespace {

// A process that has begun to write folder/c and waits, or is gone.
pid_t begin_file(const std::filesystem::path& path, bool stay) {
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFile* file = new AtomicFile(path);
    file->write(std::string_view("half"));
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    while (stay) ::pause();
    ::_exit(0);
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  ::close(ready[0]);
  ::close(ready[1]);
  if (!stay) ::waitpid(child, nullptr, 0);
  return child;
}

std::string only_file(const std::filesystem::path& folder) {
  REQUIRE(files_in(folder) == 1);
  return std::filesystem::directory_iterator(folder)->path().filename().string();
}

}  // namespace

TEST_CASE("leftovers of killed processes are removed, those of living ones and others' are not") {
  test::TempFolder folder;
  std::filesystem::create_directories(folder / "deep/er");
  begin_file(folder / "c", false);
  begin_file(folder / "deep/er/c", false);
  const pid_t living = begin_file(folder / "deep/c", true);
  CHECK(files_in(folder / "deep") == 2);
  std::ofstream(folder / "c.tmp-notes") << "not ours";
  std::ofstream(folder / "c.tmp-0123456789abcdeg") << "not ours";
  std::ofstream(folder / ".tmp-0123456789abcdef") << "not ours";
  std::ofstream(folder / "elsewhere") << "kept";
  std::filesystem::create_symlink("elsewhere", folder / "c.tmp-0123456789abcdef");
  // Of an earlier version, whose temporary files were not locked: old ones only.
  std::ofstream(folder / "c.tmp-999999999-0") << "somebody may be writing it";
  std::ofstream(folder / "c.tmp-999999999-1") << "left";
  std::filesystem::last_write_time(
      folder / "c.tmp-999999999-1",
      std::filesystem::file_time_type::clock::now() - std::chrono::hours(2));
  remove_leftovers(folder.path());
  CHECK(files_in(folder / "deep/er") == 0);
  CHECK(files_in(folder / "deep") == 2);  // er, and what lives
  CHECK(files_in(folder.path()) == 7);
  CHECK(!std::filesystem::exists(folder / "c.tmp-999999999-1"));
  CHECK(read_file(folder / "elsewhere", 10) == "kept");
  ::kill(living, SIGKILL);
  ::waitpid(living, nullptr, 0);
  remove_leftovers_of(folder / "deep/other");
  CHECK(files_in(folder / "deep") == 2);
  remove_leftovers_of(folder / "deep/c");
  CHECK(files_in(folder / "deep") == 1);
}

TEST_CASE("an output folder is made, or cleared of what a killed command left in it, not below") {
  test::TempFolder folder;
  open_output_folder(folder / "out/deep");
  begin_file(folder / "out/picture.png", false);
  begin_file(folder / "out" / std::string(255, 'n'), false);
  begin_file(folder / "out/deep/picture.png", false);
  const pid_t living = begin_file(folder / "out/other.png", true);
  atomic_write(folder / "out/picture.png", std::string_view("kept"));
  open_output_folder(folder / "out");
  CHECK(files_in(folder / "out") == 3);  // deep, the picture, and what lives
  CHECK(files_in(folder / "out/deep") == 1);
  CHECK(read_file(folder / "out/picture.png", 10) == "kept");
  ::kill(living, SIGKILL);
  ::waitpid(living, nullptr, 0);
}

TEST_CASE("temporary names are random: nobody can plant a link there, no two processes meet") {
  test::TempFolder folder;
  std::set<std::string> names;
  for (int i = 0; i < 50; ++i) {
    const AtomicFile file(folder / "a");
    names.insert(only_file(folder.path()));
  }
  CHECK(names.size() == 50);
  for (const std::string& name : names) CHECK(name.size() == std::string("a.tmp-").size() + 16);
  // Forked children share everything but the random names.
  std::vector<pid_t> children;
  for (int i = 0; i < 20; ++i) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    try {
      for (int k = 0; k < 20; ++k) atomic_write(folder / "shared", std::string(100, 'x'));
      ::_exit(0);
    } catch (const std::exception&) {
      ::_exit(1);
    }
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  CHECK(only_file(folder.path()) == "shared");
}

TEST_CASE("clearing leftovers beside processes that write takes nothing from them") {
  test::TempFolder folder;
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    try {
      for (int k = 0; k < 100; ++k)
        atomic_write(folder / fmt::format("file{}", i), std::string_view("whole"));
      ::_exit(0);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "child: %s\n", error.what());
      ::_exit(1);
    }
  }
  for (const pid_t child : children) {
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) remove_leftovers(folder.path());
    CHECK(status == 0);
  }
  CHECK(files_in(folder.path()) == 4);
}

TEST_CASE("a name as long as the file system takes is written and copied") {
  test::TempFolder folder;
  const std::string name(255, 'n');
  atomic_write(folder / name, std::string_view("text"));
  CHECK(read_file(folder / name, 10) == "text");
  atomic_copy(folder / name, folder / "copy");
  CHECK(read_file(folder / "copy", 10) == "text");
  CHECK(files_in(folder.path()) == 2);
  CHECK_THROWS_WITH_AS(atomic_copy(folder / "none", folder / "copy"), doctest::Contains("none"),
                       Error);
  CHECK(read_file(folder / "copy", 10) == "text");
}

TEST_CASE("folders are created down to the last, also with a slash at the end") {
  test::TempFolder folder;
  create_folders(folder / "a/b/c/");
  create_folders(folder / "a/b/c");
  CHECK(std::filesystem::is_directory(folder / "a/b/c"));
  atomic_write(folder / "file", std::string_view("x"));
  CHECK_THROWS_WITH_AS(create_folders(folder / "file"), doctest::Contains("which is no folder"),
                       Error);
  CHECK_THROWS_WITH_AS(create_folders(folder / "file/below"), doctest::Contains("file: cannot be"),
                       Error);
}
