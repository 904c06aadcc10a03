#include "engine/io/file_lock.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/tensor/error.h"
#include "tests/support/temp_folder.h"

using namespace thorax;

TEST_CASE("file lock: one holder at a time, free again when the holder ends") {
  const test::TempFolder folder;
  const auto path = folder.path() / "lock";
  {
    const FileLock held(path);
    CHECK_FALSE(FileLock::try_lock(path).has_value());
    // In another process, too.
    const pid_t child = ::fork();
    if (child == 0) ::_exit(FileLock::try_lock(path).has_value() ? 1 : 0);
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
  auto lock = FileLock::try_lock(path);
  REQUIRE(lock.has_value());
  const FileLock moved = std::move(*lock);
  lock.reset();
  CHECK_FALSE(FileLock::try_lock(path).has_value());
  CHECK_THROWS_WITH_AS(FileLock(folder.path() / "none" / "lock"),
                       doctest::Contains("cannot be opened to lock it"), Error);
}

TEST_CASE("several share a lock, one alone excludes them, a removed lock file is none") {
  test::TempFolder folder;
  const auto path = folder.path() / "lock";
  auto first = FileLock::try_lock(path, LockMode::shared);
  auto second = FileLock::try_lock(path, LockMode::shared);
  REQUIRE((first && second));
  CHECK_FALSE(FileLock::try_lock(path).has_value());
  CHECK_FALSE(first->change(LockMode::alone));
  CHECK_FALSE(FileLock::try_lock(path).has_value());  // and is still shared
  second.reset();
  CHECK(first->change(LockMode::alone));
  CHECK_FALSE(FileLock::try_lock(path, LockMode::shared).has_value());
  CHECK(first->change(LockMode::shared));
  CHECK(FileLock::try_lock(path, LockMode::shared).has_value());
  // Whoever locks the name afterwards gets another file.
  CHECK(first->change(LockMode::alone));
  std::filesystem::remove(path);
  CHECK(FileLock::try_lock(path).has_value());
  std::filesystem::remove(path);
  std::filesystem::create_symlink(folder.path() / "elsewhere", path);
  CHECK_THROWS_AS(FileLock::try_lock(path), Error);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "elsewhere"));
}
