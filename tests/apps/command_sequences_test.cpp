// Random sequences of commands on a run's folder against a model of what must be true: after any
// history a run that is said to be finished has the bytes of an undisturbed one, a refused command
// has changed nothing, and what is not a run is never touched.
//
//   THORAX_SEQUENCES=N     so many sequences of each kind instead of a few
//   THORAX_SEQUENCE_SEED=S the first one's seed (they count up); a failure names its own
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "tests/support/program.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

using Files = std::map<std::string, std::string>;  // relative path -> content

// Locks come and go, and a cache of checksums may be filled by a command that is then refused:
// neither is anything that a user has made.
bool incidental(const fs::path& file) {
  const std::string name = file.filename().string();
  return name == "lock" || name.ends_with(".lock") || name == "data_checksums.json";
}

Files files_of(const fs::path& folder) {
  Files files;
  if (fs::exists(folder))
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (entry.is_regular_file() && !incidental(entry.path()))
        files[entry.path().lexically_relative(folder).string()] = file_text(entry.path());
  return files;
}

std::string changed(const Files& before, const Files& after) {
  std::string text;
  for (const auto& [name, content] : before)
    if (!after.contains(name))
      text += " -" + name;
    else if (after.at(name) != content)
      text += " ~" + name;
  for (const auto& [name, content] : after)
    if (!before.contains(name)) text += " +" + name;
  return text;
}

long number_from(const char* variable, long otherwise) {
  const char* set = std::getenv(variable);
  return set == nullptr ? otherwise : std::strtol(set, nullptr, 10);
}

// Two configurations of the smallest run that has a checkpoint in its middle, and what each makes
// when nothing disturbs it.
class World {
 public:
  World() {
    const Outcome made =
        run_thorax({"data", "phantoms", "--out", folder / "data", "--patients", "8",
                    "--positive-share", "0.5", "--max-images", "1", "--size", "32"});
    INFO(made.output);
    REQUIRE(made.exit_code == 0);
    for (int config = 0; config < 2; ++config) {
      const std::string out = folder / ("reference" + std::to_string(config));
      const Outcome done = run_thorax(train(config, out));
      INFO(done.output);
      REQUIRE(done.exit_code == 0);
      results[config] = result_of(out);
      REQUIRE(results[config].size() == kResults.size());
    }
    REQUIRE(results[0] != results[1]);
  }

  std::vector<std::string> train(int config, const std::string& out,
                                 std::vector<std::string> more = {}) const {
    std::vector<std::string> command = {"train",
                                        "segmenter",
                                        "--data",
                                        "shenzhen:" + (folder / "data"),
                                        "--size",
                                        "16",
                                        "--width",
                                        "2",
                                        "--batch",
                                        "2",
                                        "--epochs",
                                        config == 0 ? "3" : "2",
                                        "--augment",
                                        "light",
                                        "--checkpoint-seconds",
                                        "1",
                                        "--threads",
                                        "1",
                                        "--out",
                                        out};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }

  // What decides: the weights and the predictions.
  static Files result_of(const fs::path& out) {
    Files result;
    for (const std::string& name : kResults)
      if (fs::exists(out / name)) result[name] = file_text(out / name);
    return result;
  }
  static const std::vector<std::string> kResults;

  TemporaryFolder folder;
  Files results[2];
};
const std::vector<std::string> World::kResults = {"last.safetensors", "predictions.csv"};

const World& world() {
  static const World one;
  return one;
}

enum class Holds { nothing, run, foreign };

// One folder, and what is known of it.
class Sequence {
 public:
  explicit Sequence(unsigned seed) : random_(seed) {}

  void play(int steps) {
    for (int i = 0; i < steps; ++i) {
      step();
      check_tidy();
    }
    // However it stands now: a run goes on to the reference, or says why it cannot.
    if (holds_ == Holds::run) resume(config_);
  }
  std::string history;

 private:
  std::size_t pick(std::size_t n) { return random_() % n; }
  std::string out() const { return home_ / name_; }
  void note(const std::string& text) { history += (history.empty() ? "" : ", ") + text; }

  void step() {
    switch (pick(12)) {
      case 0:
        return train(static_cast<int>(pick(2)));
      case 1:
      case 2:
        return resume(holds_ == Holds::run && pick(3) ? config_ : static_cast<int>(pick(2)));
      case 3:
        return overwrite(static_cast<int>(pick(2)));
      case 4:
      case 5:
        return kill_one();
      case 6:
        return move();
      case 7:
        return copy();
      case 8:
        return edit_configuration();
      case 9:
        return delete_file();
      case 10:
        return damage_file();
      default:
        return pick(3) ? two_at_once() : make_foreign();
    }
  }

  // Runs a command that must end in the reference of `config`.
  void must_finish(const std::vector<std::string>& command, int config) {
    const Outcome outcome = run_thorax(command);
    INFO(history, "\n", outcome.output);
    REQUIRE(outcome.exit_code == 0);
    REQUIRE(World::result_of(out()) == world().results[config]);
    holds_ = Holds::run;
    config_ = config;
    intact_ = true;
    killed_ = false;
  }
  // Runs a command that must be refused, with a reason that has this text, and change nothing.
  void must_refuse(const std::vector<std::string>& command, const std::string& reason) {
    const Files before = files_of(home_.path());
    const Outcome outcome = run_thorax(command);
    INFO(history, "\n", outcome.output);
    REQUIRE(outcome.exit_code > 0);
    REQUIRE(outcome.output.find(reason) != std::string::npos);
    REQUIRE(changed(before, files_of(home_.path())) == "");
  }

  void train(int config) {
    note(fmt::format("train {}", config));
    if (holds_ == Holds::nothing)
      must_finish(world().train(config, out()), config);
    else
      must_refuse(world().train(config, out()), edited_ && !readable_ ? "config.json" : "[run] ");
  }

  void resume(int config) {
    note(fmt::format("resume {}", config));
    const auto command = world().train(config, out(), {"--resume"});
    if (holds_ == Holds::foreign) return must_refuse(command, "[run] ");
    if (holds_ == Holds::run && edited_) return must_refuse(command, "config.json");
    if (holds_ == Holds::run && config != config_) return must_refuse(command, "epochs");
    if (intact_ || holds_ == Holds::nothing) return must_finish(command, config);
    // Something was deleted or damaged: the reference, or an error that names a file; nothing else.
    const Outcome outcome = run_thorax(command);
    INFO(history, "\n", outcome.output);
    REQUIRE((outcome.exit_code == 0 || outcome.exit_code == 1));
    if (outcome.exit_code == 0) {
      REQUIRE(World::result_of(out()) == world().results[config]);
      intact_ = true;
    } else {
      REQUIRE(outcome.output.find(out()) != std::string::npos);
    }
  }

  void overwrite(int config) {
    note(fmt::format("overwrite {}", config));
    const auto command = world().train(config, out(), {"--overwrite"});
    if (holds_ == Holds::foreign) return must_refuse(command, "[run] ");
    if (edited_ && !readable_) return must_refuse(command, "config.json");
    must_finish(command, config);
    edited_ = false;
  }

  void kill_one() {
    static constexpr int kSignals[] = {SIGKILL, SIGTERM, SIGINT};
    const int after = static_cast<int>(pick(400)), signal = kSignals[pick(3)];
    const int config = holds_ == Holds::run ? config_ : static_cast<int>(pick(2));
    if (holds_ == Holds::foreign || edited_) return;
    note(fmt::format("signal {} after {} ms", signal, after));
    run_thorax(world().train(config, out(), {"--resume"}), after, signal);
    killed_ = true;
    if (holds_ == Holds::nothing && fs::exists(fs::path(out()) / "config.json")) {
      holds_ = Holds::run;
      config_ = config;
    }
  }

  void move() {
    note("move");
    const std::string from = out();
    name_ = fmt::format("moved {}", ++moves_);
    if (fs::exists(from)) fs::rename(from, out());
  }

  // The copy is used from now on; the original must stay as it is.
  void copy() {
    note("copy");
    const std::string from = out();
    name_ = fmt::format("copy {}", ++moves_);
    if (fs::exists(from)) fs::copy(from, out(), fs::copy_options::recursive);
  }

  void edit_configuration() {
    if (holds_ != Holds::run || edited_) return;
    note("edit config.json");
    const fs::path file = fs::path(out()) / "config.json";
    readable_ = pick(3) != 0;
    if (readable_) {
      nlohmann::json config = nlohmann::json::parse(file_text(file));
      config["settings"]["epochs"] = 7;
      std::ofstream(file) << config.dump(2);
    } else {
      std::ofstream(file) << "{\"no\": ";
    }
    edited_ = true;
  }

  // Any file but the configuration, without which it is no run.
  std::string some_file() {
    std::vector<std::string> names;
    for (const auto& [name, content] : files_of(out()))
      if (name != "config.json") names.push_back(name);
    return names.empty() ? "" : names[pick(names.size())];
  }
  void delete_file() {
    if (holds_ != Holds::run) return;
    const std::string name = some_file();
    if (name.empty()) return;
    note("delete " + name);
    fs::remove(fs::path(out()) / name);
    intact_ = false;
  }
  void damage_file() {
    if (holds_ != Holds::run) return;
    const std::string name = some_file();
    if (name.empty()) return;
    std::string content = file_text(fs::path(out()) / name);
    if (content.empty()) return;
    const std::size_t at = pick(content.size());
    note(fmt::format("damage {} at {}", name, at));
    if (pick(3) == 0)
      content.resize(at);
    else
      content[at] = static_cast<char>(content[at] ^ (1 << pick(8)));
    std::ofstream(fs::path(out()) / name, std::ios::binary) << content;
    intact_ = false;
  }

  // At least one of them finishes the run; the other one may be refused, and harms nothing.
  void two_at_once() {
    if (holds_ == Holds::foreign || edited_ || !intact_) return;
    const int config = holds_ == Holds::run ? config_ : static_cast<int>(pick(2));
    note(fmt::format("two at once {}", config));
    Outcome outcomes[2];
    const auto start = [&](int i) {
      outcomes[i] = run_thorax(world().train(config, out(), {"--resume"}));
    };
    std::thread other(start, 1);
    start(0);
    other.join();
    INFO(history, "\n", outcomes[0].output, "\n", outcomes[1].output);
    REQUIRE((outcomes[0].exit_code == 0 || outcomes[1].exit_code == 0));
    for (const Outcome& outcome : outcomes)
      if (outcome.exit_code != 0) REQUIRE(outcome.output.find("lock") != std::string::npos);
    REQUIRE(World::result_of(out()) == world().results[config]);
    holds_ = Holds::run;
    config_ = config;
  }

  // Somebody's project that looks a little like a run.
  void make_foreign() {
    note("somebody's folder");
    name_ = fmt::format("project {}", ++moves_);
    fs::create_directories(fs::path(out()) / "thesis");
    std::ofstream(fs::path(out()) / "config.json") << R"({"name": "my project", "version": "1"})";
    std::ofstream(fs::path(out()) / "thesis/chapter1.txt") << "years of work\n";
    holds_ = Holds::foreign;
    edited_ = false;
  }

  // Nothing temporary stays behind a command that has ended by itself.
  void check_tidy() {
    if (holds_ != Holds::run || !intact_ || killed_ ||
        World::result_of(out()) != world().results[config_])
      return;
    for (const auto& entry : fs::recursive_directory_iterator(out())) {
      const std::string name = entry.path().filename().string();
      INFO(history, ": ", name);
      REQUIRE(name.find(".tmp") == std::string::npos);
      REQUIRE(name.find(".new.") == std::string::npos);
      REQUIRE(name.find(".link.") == std::string::npos);
    }
  }

  std::mt19937 random_;
  TemporaryFolder home_;
  std::string name_ = "run";
  int moves_ = 0;
  Holds holds_ = Holds::nothing;
  int config_ = 0;
  bool intact_ = true;    // no file of it was deleted or damaged
  bool killed_ = false;   // what it left is cleared by the next start
  bool edited_ = false;   // its configuration was changed by hand
  bool readable_ = true;  // and is still JSON
};

}  // namespace

TEST_CASE("random sequences of commands on one folder keep every promise") {
  const auto first = static_cast<unsigned>(number_from("THORAX_SEQUENCE_SEED", 1));
  const auto count = static_cast<unsigned>(number_from("THORAX_SEQUENCES", 3));
  for (unsigned seed = first; seed < first + count; ++seed) {
    INFO("THORAX_SEQUENCE_SEED=", seed);
    Sequence sequence(seed);
    sequence.play(10);
  }
}

TEST_CASE("folds trained in any order and in any folders merge to the same tables") {
  const auto first = static_cast<unsigned>(number_from("THORAX_SEQUENCE_SEED", 1));
  const auto count = static_cast<unsigned>(number_from("THORAX_SEQUENCES", 1));
  const TemporaryFolder folder;
  const auto kfold = [&](const std::string& out, std::vector<std::string> more) {
    std::vector<std::string> command = {
        "kfold",   "segmenter", "--data",    "shenzhen:" + (world().folder / "data"),
        "--size",  "16",        "--width",   "2",
        "--batch", "2",         "--epochs",  "1",
        "--folds", "3",         "--threads", "1",
        "--out",   out};
    command.insert(command.end(), more.begin(), more.end());
    const Outcome outcome = run_thorax(command);
    INFO(outcome.output);
    REQUIRE(outcome.exit_code == 0);
  };
  const auto tables = [](const std::string& out) {
    Files found;
    for (const auto& [name, content] : files_of(out))
      if (name.ends_with("predictions.csv") || name.ends_with("model.safetensors") ||
          name.ends_with("last.safetensors") || name == "splits.json")
        found[name] = content;
    return found;
  };
  kfold(folder / "reference", {});
  const Files reference = tables(folder / "reference");
  REQUIRE(reference.size() >= 7);
  for (unsigned seed = first; seed < first + count; ++seed) {
    INFO("THORAX_SEQUENCE_SEED=", seed);
    std::mt19937 random(seed);
    std::vector<int> order = {0, 1, 2};
    std::shuffle(order.begin(), order.end(), random);
    const std::string a = folder / fmt::format("a{}", seed), b = folder / fmt::format("b{}", seed);
    for (const int fold : order) {
      const std::string& out = random() % 2 ? a : b;
      kfold(out, {"--only", std::to_string(fold), "--resume"});
      if (random() % 3 == 0) kfold(a, {"--only", std::to_string(fold), "--resume"});  // twice
    }
    if (fs::exists(b))
      kfold(a, {"--resume", "--merge", b});
    else
      kfold(a, {"--resume"});
    CHECK(changed(reference, tables(a)) == "");
  }
}
