#include "engine/train/run_folder.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/tensor/error.h"
#include "tests/support/temp_folder.h"

using namespace thorax;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

const json kConfig{{"command", "train"}, {"lr", 0.1}};

RunFolder open(const fs::path& path, IfExists if_exists, LockMode mode = LockMode::alone,
               std::string* told = nullptr) {
  return RunFolder(path, if_exists, mode, [told](const std::string& text) {
    if (told != nullptr) *told += text + "\n";
  });
}

// A finished run with a fold and a result.
void make_run(const fs::path& path, const json& config = kConfig) {
  RunFolder run = open(path, IfExists::refuse);
  run.create(config);
  create_folders(path / "fold_0");
  atomic_write(path / "fold_0/result.json", std::string_view("{}"));
  run.begin();
}

int entries(const fs::path& folder) {
  return static_cast<int>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// What `act` throws or does not in a process of its own: 0 done, 1 Error.
template <class Act>
int in_child(const Act& act) {
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 0;
    try {
      act();
    } catch (const Error&) {
      code = 1;
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("a run is made, refused, resumed, replaced") {
  test::TempFolder t;
  const fs::path path = t / "runs/first";
  make_run(path);
  CHECK(is_run_config(load_json(path / "config.json")));
  int format = 0;
  CHECK(load_run_config(path / "config.json", &format) == kConfig);
  CHECK(format == 2);
  CHECK_THROWS_WITH_AS(open(path, IfExists::refuse),
                       doctest::Contains("holds a run already; give --resume, --overwrite"), Error);
  {
    const RunFolder run = open(path, IfExists::resume);
    CHECK(run.resumed());
    CHECK(run.config() == kConfig);
  }
  CHECK(fs::exists(path / "fold_0/result.json"));
  {
    RunFolder run = open(path, IfExists::overwrite);
    CHECK(!run.resumed());
    CHECK(fs::exists(path / "fold_0/result.json"));
    run.create({{"command", "kfold"}});
    CHECK(!fs::exists(path / "fold_0"));
    run.begin();
  }
  CHECK(load_run_config(path / "config.json") == json{{"command", "kfold"}});
  CHECK(entries(t / "runs") == 1);
}

TEST_CASE("a run that fails before it begins leaves nothing, or what was there before") {
  test::TempFolder t;
  {
    RunFolder run = open(t / "a/b/c", IfExists::refuse);
    run.create(kConfig);
    atomic_write(t / "a/b/c/splits.json", std::string_view("{}"));
    atomic_write(t / "a/other", std::string_view("somebody else's"));
  }
  CHECK(!fs::exists(t / "a/b"));
  CHECK(fs::exists(t / "a/other"));
  make_run(t / "old");
  {
    RunFolder run = open(t / "old", IfExists::overwrite);
    // Nothing created: nothing changed.
  }
  CHECK(fs::exists(t / "old/fold_0/result.json"));
  {
    RunFolder run = open(t / "old", IfExists::overwrite);
    run.create({{"command", "new"}});
    atomic_write(t / "old/splits.json", std::string_view("{}"));
  }
  CHECK(load_run_config(t / "old/config.json") == kConfig);
  CHECK(fs::exists(t / "old/fold_0/result.json"));
  CHECK(!fs::exists(t / "old/splits.json"));
  CHECK(entries(t.path()) == 2);
  // A resumed run stays what it is.
  { const RunFolder run = open(t / "old", IfExists::resume); }
  CHECK(fs::exists(t / "old/fold_0/result.json"));
  // An empty folder that was there stays there.
  create_folders(t / "empty");
  {
    RunFolder run = open(t / "empty", IfExists::refuse);
    run.create(kConfig);
  }
  CHECK(fs::is_empty(t / "empty"));
}

TEST_CASE("only what a run of this program has made is replaced or resumed") {
  test::TempFolder t;
  const auto both = [&](const fs::path& path, const char* why) {
    for (const IfExists mode : {IfExists::resume, IfExists::overwrite})
      CHECK_THROWS_WITH_AS(open(path, mode), doctest::Contains(why), Error);
  };
  create_folders(t / "thesis");
  atomic_write(t / "thesis/thesis.txt", std::string_view("years of work"));
  both(t / "thesis", "is not empty and is no run");
  // Another project's configuration, and a damaged one.
  for (const char* text : {R"({"compilerOptions": {}})", "[]", R"({"format": "other"})",
                           R"({"command": "x", "version": "1", "settings": {}})"}) {
    atomic_write(t / "thesis/config.json", std::string_view(text));
    both(t / "thesis", "is not the configuration of a thorax run");
  }
  atomic_write(t / "thesis/config.json", std::string_view("{"));
  both(t / "thesis", "config.json");
  atomic_write(t / "thesis/config.json",
               std::string_view(R"({"format": "thorax run", "format_version": 3})"));
  both(t / "thesis", "format version 3, this program reads up to 2");
  CHECK(read_file(t / "thesis/thesis.txt", 100) == "years of work");
  CHECK(entries(t / "thesis") == 2);
  both(t / "thesis/thesis.txt", "is not a folder");
  // As a version wrote it that did not mark its configuration.
  create_folders(t / "earlier");
  atomic_write(t / "earlier/config.json",
               std::string_view(R"({"command": "kfold", "version": "0.1.0", "settings":
                 {"task": "classifier", "model": {}, "optimizer": {}}})"));
  CHECK(open(t / "earlier", IfExists::resume).format() == 1);
}

TEST_CASE("a run in use is not opened by a second process that is not to share it") {
  test::TempFolder t;
  make_run(t / "run");
  const auto opens = [&](IfExists if_exists, LockMode mode) {
    return in_child([&] { open(t / "run", if_exists, mode); }) == 0;
  };
  {
    const RunFolder run = open(t / "run", IfExists::resume);
    CHECK(!opens(IfExists::resume, LockMode::alone));
    CHECK(!opens(IfExists::resume, LockMode::shared));
    CHECK(!opens(IfExists::overwrite, LockMode::alone));
    CHECK_THROWS_WITH_AS(open(t / "run", IfExists::resume),
                         doctest::Contains("run/lock: another process is at work"), Error);
  }
  {
    const RunFolder run = open(t / "run", IfExists::resume, LockMode::shared);
    CHECK(opens(IfExists::resume, LockMode::shared));
    CHECK(!opens(IfExists::overwrite, LockMode::shared));
  }
  {
    // A fold of an earlier version, which did not hold the run's lock.
    const FileLock fold(t / "run/fold_0/lock");
    CHECK(!opens(IfExists::overwrite, LockMode::alone));
  }
  CHECK(opens(IfExists::overwrite, LockMode::alone));
  CHECK(fs::exists(t / "run/fold_0/result.json"));
}

TEST_CASE("two processes that begin one run: one makes it, the other joins it or is told") {
  test::TempFolder t;
  RunFolder second = open(t / "run", IfExists::resume, LockMode::shared);
  RunFolder third = open(t / "run", IfExists::refuse, LockMode::shared);
  RunFolder first = open(t / "run", IfExists::resume, LockMode::shared);
  first.create(kConfig);
  second.create({{"command", "other"}});
  CHECK(second.resumed());
  CHECK(second.config() == kConfig);
  CHECK_THROWS_WITH_AS(third.create(kConfig), doctest::Contains("--resume joins it"), Error);
}

TEST_CASE("killed at any point of replacing, the old or the new run is whole") {
  // What a killed process leaves in the four stretches: before, between and after the exchange.
  test::TempFolder t;
  const fs::path path = t / "run";
  for (int point = 0; point < 3; ++point) {
    CAPTURE(point);
    fs::remove_all(path);
    make_run(path);
    CHECK(in_child([&] {
            RunFolder run = open(path, IfExists::overwrite);
            if (point == 0) ::_exit(7);
            run.create({{"command", "new"}});
            if (point == 1) ::_exit(7);
            run.begin();
            ::_exit(7);
          }) == 7);
    std::string told;
    const RunFolder run = open(path, IfExists::resume, LockMode::alone, &told);
    CHECK(run.resumed());
    CHECK(run.config() == (point == 0 ? kConfig : json{{"command", "new"}}));
    CHECK(fs::exists(path / "fold_0/result.json") == (point == 0));
    CHECK(entries(t.path()) == 1);
    CHECK(told == "");
  }
  // Before the exchange: a fresh stub beside the old run. And a folder of that name which is not
  // ours, and one whose process lives.
  fs::remove_all(path);
  make_run(path);
  make_run(t / ".run.replaced-0123456789abcdef");
  create_folders(t / ".run.replaced-fedcba9876543210");
  atomic_write(t / ".run.replaced-fedcba9876543210/mine", std::string_view("x"));
  make_run(t / ".run.replaced-00000000000000aa");
  {
    const FileLock living(t / ".run.replaced-00000000000000aa/lock");
    open(path, IfExists::resume);
  }
  CHECK(!fs::exists(t / ".run.replaced-0123456789abcdef"));
  CHECK(fs::exists(t / ".run.replaced-fedcba9876543210/mine"));
  CHECK(fs::exists(t / ".run.replaced-00000000000000aa/config.json"));
  // Between three renames, on a file system that cannot exchange: the old run comes back.
  fs::rename(path, t / ".run.kept-0123456789abcdef");
  std::string told;
  CHECK(open(path, IfExists::resume, LockMode::alone, &told).config() == kConfig);
  CHECK(told.find("it is back") != std::string::npos);
  CHECK(fs::exists(path / "fold_0/result.json"));
}

TEST_CASE("a symbolic link to a run stays one, and nothing outside is touched") {
  test::TempFolder t;
  create_folders(t / "disk");
  make_run(t / "disk/run");
  atomic_write(t / "disk/precious", std::string_view("x"));
  fs::create_directory_symlink(t / "disk/run", t / "link");
  {
    RunFolder run = open(t / "link", IfExists::overwrite);
    run.create({{"command", "new"}});
    run.begin();
  }
  CHECK(fs::is_symlink(t / "link"));
  CHECK(load_run_config(t / "disk/run/config.json") == json{{"command", "new"}});
  CHECK(entries(t / "disk") == 2);
  CHECK(entries(t.path()) == 2);
  // A link inside the run is removed, what it points to is not.
  fs::create_directory_symlink(t / "disk", t / "disk/run/elsewhere");
  {
    RunFolder run = open(t / "link", IfExists::overwrite);
    run.create(kConfig);
    run.begin();
  }
  CHECK(read_file(t / "disk/precious", 10) == "x");
  fs::create_directory_symlink(t / "nowhere", t / "dangling");
  CHECK_THROWS_WITH_AS(open(t / "dangling", IfExists::resume),
                       doctest::Contains("is a symbolic link to nothing"), Error);
  // From within, relative paths of the command would lose their ground.
  const fs::path before = fs::current_path();
  fs::current_path(t / "disk/run");
  {
    RunFolder run = open(".", IfExists::overwrite);
    CHECK_THROWS_WITH_AS(run.create(kConfig), doctest::Contains("the working directory lies in it"),
                         Error);
  }
  fs::current_path(before);
  CHECK(fs::exists(t / "disk/run/config.json"));
}
