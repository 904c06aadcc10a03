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
