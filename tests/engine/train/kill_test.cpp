// SIGKILL at any moment, resume, and compare the end with that of a run left alone.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/io/atomic_file.h"
#include "engine/runtime/parallel.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_training.h"

using namespace thorax;
using test::TinyRun;

namespace {

constexpr int kFinished = 0, kFailed = 9;

void configure(TinyRun& run) {
  run.options.epochs = 6;
  run.options.checkpoint_steps = 2;
}

// Trains in a child process, resuming; `prepare` may add what ends it.
template <class Prepare>
pid_t start(const std::filesystem::path& folder, const Prepare& prepare) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  // Worker threads do not survive a fork.
  set_num_threads(1);
  int code = kFailed;
  try {
    TinyRun run(folder, true);
    configure(run);
    prepare(run);
    run.run();
    code = kFinished;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "child: %s\n", error.what());
  }
  ::_exit(code);
}

// Waits; true when the child finished, false when it was killed.
bool finished(pid_t child) {
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status)) {
    CHECK(WTERMSIG(status) == SIGKILL);
    return false;
  }
  REQUIRE(WEXITSTATUS(status) == kFinished);
  return true;
}

std::vector<std::byte> whole_run() {
  test::TempFolder folder;
  TinyRun run(folder.path());
  configure(run);
  run.run();
  return read_bytes(folder / "last.safetensors", 1 << 24);
}

}  // namespace

TEST_CASE("killed at random moments, a run ends with the bytes of one left alone") {
  const auto expected = whole_run();
  Philox random(static_cast<std::uint64_t>(::getpid()));
  int kills = 0;
  for (int round = 0; round < 3; ++round) {
    test::TempFolder folder;
    for (int attempt = 0;; ++attempt) {
      REQUIRE(attempt < 50);
      const pid_t child = start(folder.path(), [](TinyRun& run) {
        // Steps long enough for a kill to fall into the middle of a run.
        run.observer.step = [](const TrainProgress&) { ::usleep(2000); };
      });
      if (attempt < 10) {
        ::usleep(static_cast<useconds_t>(1000 + random.below(60'000)));
        ::kill(child, SIGKILL);
      }
      if (finished(child)) break;
      ++kills;
    }
    CHECK(read_bytes(folder / "last.safetensors", 1 << 24) == expected);
  }
  MESSAGE("killed " << kills << " times");
  CHECK(kills >= 3);
}

TEST_CASE("killed between the log line, the best weights and the checkpoint of every epoch") {
  const auto expected = whole_run();
  test::TempFolder folder;
  int kills = 0;
  for (std::int64_t epoch = 0; epoch < 6; ++epoch) {
    const pid_t child = start(folder.path(), [&](TinyRun& run) {
      run.observer.epoch = [&](std::int64_t e, const std::map<std::string, double>&) {
        if (e == epoch) ::raise(SIGKILL);
      };
    });
    if (!finished(child)) ++kills;
  }
  CHECK(kills == 6);
  CHECK(finished(start(folder.path(), [](TinyRun&) {})));
  CHECK(read_bytes(folder / "last.safetensors", 1 << 24) == expected);
}

TEST_CASE("killed after every single step") {
  const auto expected = whole_run();
  test::TempFolder folder;
  for (std::int64_t step = 1; step < 30; ++step) {
    const pid_t child = start(folder.path(), [&](TinyRun& run) {
      run.options.checkpoint_steps = 1;
      run.observer.step = [&](const TrainProgress& p) {
        // The checkpoint of the step before is there.
        if (p.step > step) ::raise(SIGKILL);
      };
    });
    CHECK(!finished(child));
  }
  CHECK(finished(start(folder.path(), [](TinyRun&) {})));
  CHECK(read_bytes(folder / "last.safetensors", 1 << 24) == expected);
}
