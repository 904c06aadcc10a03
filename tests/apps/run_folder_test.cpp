// What a run's folder survives: mistakes, a second process, moved and changed data, edited results.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "engine/io/atomic_file.h"
#include "engine/io/file_lock.h"
#include "engine/train/checkpoint.h"
#include "tests/apps/commands.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

bool says(const Outcome& outcome, const std::string& text) {
  return outcome.output.find(text) != std::string::npos;
}

// Phantoms of ten patients, and a segmenter that is quickly trained on them.
struct Setup : TemporaryFolder {
  Setup() {
    REQUIRE(run_thorax({"data", "phantoms", "--out", *this / "phantoms", "--patients", "10",
                        "--max-images", "1", "--size", "64", "--seed", "4"})
                .exit_code == 0);
  }
  // Options in `more` are in place of the usual ones.
  Arguments train(const std::string& out, const Arguments& more = {}) const {
    Arguments all{"train", "segmenter", "--data", "shenzhen:" + (*this / "phantoms"),
                  "--out", *this / out};
    for (const auto& [option, value] : std::vector<std::pair<std::string, std::string>>{
             {"--size", "32"}, {"--width", "4"}, {"--epochs", "2"}, {"--batch", "2"}})
      if (std::find(more.begin(), more.end(), option) == more.end())
        all.insert(all.end(), {option, value});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  void succeed(const Arguments& arguments) const {
    const Outcome outcome = run_thorax(arguments);
    INFO(outcome.output);
    REQUIRE(outcome.exit_code == 0);
  }
  Outcome refused(const Arguments& arguments, const std::string& why) const {
    const Outcome outcome = run_thorax(arguments);
    INFO(outcome.output);
    CHECK(outcome.exit_code == 1);
    CHECK(says(outcome, why));
    return outcome;
  }
  // A run of which only the first epoch is done, as a kill after it leaves it.
  void half(const std::string& out) const {
    fs::copy(*this / "whole", *this / out, fs::copy_options::recursive);
    for (const char* file : {"result.json", "predictions.csv"}) fs::remove(path() / out / file);
    fs::rename(path() / out / "last.prev.safetensors", path() / out / "last.safetensors");
  }
};

}  // namespace

TEST_CASE("a mistake found before training leaves no folder, and the corrected command works") {
  const Setup t;
  t.refused(t.train("run", {"--size", "65"}), "must be multiples of");
  std::ofstream(t / "wide.json")
      << R"({"model": {"model": "unet", "out_channels": 3, "width": 4}})";
  t.refused(t.train("run", {"--config", t / "wide.json"}), "(model.out_channels = 1)");
  t.refused(t.train("run", {"--weights", t / "none.safetensors"}), "none.safetensors");
  CHECK_FALSE(fs::exists(t / "run"));
  // Found in the first batch only: no image can be read.
  fs::copy(t / "phantoms", t / "good", fs::copy_options::recursive);
  for (const auto& entry : fs::directory_iterator(t / "phantoms/CXR_png"))
    thorax::atomic_write(entry.path(), std::string_view("no image"));
  t.refused(t.train("deep/er/run"), "no image of a format that is read");
  CHECK_FALSE(fs::exists(t / "deep"));
  fs::remove_all(t / "phantoms");
  fs::rename(t / "good", t / "phantoms");
  t.succeed(t.train("run"));
  // A run's own configuration is a configuration.
  t.succeed({"train", "segmenter", "--config", t / "run/config.json", "--out", t / "again"});
  CHECK(file_text(t / "again/last.safetensors") == file_text(t / "run/last.safetensors"));
}

TEST_CASE("--overwrite: what is wrong is found first, and only a run is replaced") {
  const Setup t;
  t.succeed(t.train("run"));
  const std::string before = file_text(t / "run/last.safetensors");
  Arguments typo = t.train("run", {"--overwrite"});
  typo[3] += "-typo";
  for (const Arguments& wrong :
       {typo, t.train("run", {"--overwrite", "--size", "65"}),
        t.train("run", {"--overwrite", "--weights", t / "run/best.safetensors"})}) {
    CHECK(run_thorax(wrong).exit_code == 1);
    CHECK(file_text(t / "run/last.safetensors") == before);
    CHECK(fs::exists(t / "run/result.json"));
  }
  t.refused(t.train("run", {"--overwrite", "--weights", t / "run/best.safetensors"}),
            "which --overwrite would replace");
  {
    const auto at_work = thorax::FileLock::try_lock(t / "run/lock");
    t.refused(t.train("run", {"--overwrite"}), "run/lock: another process is at work");
  }
  fs::create_directories(t / "project");
  std::ofstream(t / "project/config.json") << R"({"name": "website"})";
  std::ofstream(t / "project/work.txt") << "years";
  t.refused(t.train("project", {"--overwrite"}), "is not the configuration of a thorax run");
  CHECK(file_text(t / "project/work.txt") == "years");
  fs::create_directory_symlink(t / "run", t / "link");
  t.succeed(t.train("link", {"--overwrite", "--seed", "7"}));
  CHECK(fs::is_symlink(t / "link"));
  CHECK(file_text(t / "run/last.safetensors") != before);
  for (const auto& entry : fs::directory_iterator(t.path()))
    CHECK(entry.path().filename().string()[0] != '.');
}

TEST_CASE("--overwrite removes no file of somebody else's: it names them and stops") {
  const Setup t;
  t.succeed(t.train("run"));
  const auto is_there = [&](const char* name) { return fs::exists(t.path() / "run" / name); };
  fs::create_directories(t / "run/thesis");
  std::ofstream(t / "run/thesis/chapter.json") << "years";
  std::ofstream(t / "run/notes.txt") << "what I saw";
  fs::create_directories(t / "run/cut");
  std::ofstream(t / "run/cut/letter.docx") << "Dear";
  t.refused(
      t.train("run", {"--overwrite", "--seed", "7"}),
      "holds what no run writes: cut/letter.docx, notes.txt, thesis; --overwrite would remove "
      "it: move it elsewhere, or give another --out");
  CHECK(is_there("thesis/chapter.json"));
  CHECK(is_there("notes.txt"));
  CHECK(is_there("result.json"));
  fs::remove_all(t / "run/thesis");
  fs::remove(t / "run/notes.txt");
  fs::remove(t / "run/cut/letter.docx");
  t.succeed(t.train("run", {"--overwrite", "--seed", "7"}));
}

TEST_CASE("one process trains in a folder") {
  const Setup t;
  t.succeed(t.train("whole"));
  t.half("run");
  {
    const auto at_work = thorax::FileLock::try_lock(t / "run/lock");
    t.refused(t.train("run", {"--resume"}), "run/lock: another process is at work in this run");
  }
  // The lock is held to the end, not only while the run is opened.
  const std::string watched = t / "watched";
  const pid_t child = fork();
  if (child == 0) {
    run_thorax(t.train("watched", {"--epochs", "40"}));
    _exit(0);
  }
  bool refused = false;
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0)
    if (fs::exists(watched + "/metrics.jsonl") && fs::file_size(watched + "/metrics.jsonl") > 0)
      refused = refused || !thorax::FileLock::try_lock(watched + "/lock");
  CHECK(refused);
  t.succeed(t.train("run", {"--resume"}));
  CHECK(file_text(t / "run/last.safetensors") == file_text(t / "whole/last.safetensors"));
}

TEST_CASE("--resume: data may move, not change; what computes may change, with a line") {
  const Setup t;
  t.succeed(t.train("whole"));
  for (const char* run : {"moved", "changed", "device", "broken", "log"}) t.half(run);
  const std::string whole = file_text(t / "whole/last.safetensors");

  fs::rename(t / "phantoms", t / "elsewhere");
  Arguments moved = t.train("moved", {"--resume"});
  moved[3] = "shenzhen:" + (t / "elsewhere/../elsewhere");
  const Outcome goes_on = run_thorax(moved);
  INFO(goes_on.output);
  CHECK(goes_on.exit_code == 0);
  CHECK(says(goes_on, "goes on with the same files at other places"));
  CHECK(file_text(t / "moved/last.safetensors") == whole);
  fs::rename(t / "elsewhere", t / "phantoms");

  const Outcome device = run_thorax(t.train("device", {"--resume", "--provider", "conv2d=gemm"}));
  INFO(device.output);
  CHECK(device.exit_code == 0);
  CHECK(says(device, "goes on in another way than before: providers none, now conv2d=gemm"));
  const auto history = nlohmann::json::parse(file_text(t / "device/provenance.json"));
  CHECK(history.size() == 2);
  CHECK(history.back().at("fold_seconds").contains("train"));

  thorax::atomic_write(t / "broken/provenance.json", std::string_view("{"));
  const Outcome broken = run_thorax(t.train("broken", {"--resume"}));
  CHECK(broken.exit_code == 0);
  CHECK(says(broken, "kept as provenance.bad-"));
  CHECK(file_text(t / "broken/last.safetensors") == whole);

  fs::remove(t / "log/metrics.jsonl");
  const Outcome log = run_thorax(t.train("log", {"--resume"}));
  CHECK(says(log, "restored from the checkpoint"));
  CHECK(file_text(t / "log/metrics.jsonl") == file_text(t / "whole/metrics.jsonl"));
  CHECK(file_text(t / "log/last.safetensors") == whole);

  // One image replaced by another of the same size: a byte of its pixels.
  const fs::path image = fs::directory_iterator(t / "phantoms/CXR_png")->path();
  const auto when = fs::last_write_time(image);
  std::string bytes = file_text(image);
  bytes[bytes.size() / 2] ^= 1;
  thorax::atomic_write(image, std::string_view(bytes));
  fs::last_write_time(image, when);
  t.refused(t.train("changed", {"--resume"}), "the data is not what the run began with");
}

TEST_CASE("a finished run whose files were edited is named, and computed again on demand") {
  const Setup t;
  t.succeed(t.train("run"));
  const std::string weights = file_text(t / "run/last.safetensors");
  const std::string predictions = file_text(t / "run/predictions.csv");
  for (const char* name : {"predictions.csv", "metrics.jsonl", "result.json", "last.safetensors"}) {
    CAPTURE(name);
    const std::string file = t / (std::string("run/") + name);
    const std::string before = file_text(file);
    std::string edited = before;
    const std::size_t digit = edited.rfind('1');
    edited[digit] = '2';
    thorax::atomic_write(file, std::string_view(edited));
    const Outcome refused = t.refused(t.train("run", {"--resume"}), name);
    if (std::string(name) != "result.json")
      CHECK(says(refused, "is not what it was when the fold was finished"));
    thorax::atomic_write(file, std::string_view(before));
  }
  t.succeed(t.train("run", {"--resume"}));
  std::ofstream(t / "run/predictions.csv", std::ios::app) << "x";
  fs::remove(t / "run/result.json");
  t.succeed(t.train("run", {"--resume"}));
  CHECK(file_text(t / "run/predictions.csv") == predictions);
  CHECK(file_text(t / "run/last.safetensors") == weights);
  // Of a version that kept no checksums.
  auto result = nlohmann::json::parse(file_text(t / "run/result.json"));
  for (const char* key : {"version", "files", "checksum"}) result.erase(key);
  thorax::atomic_write(t / "run/result.json", std::string_view(result.dump()));
  const Outcome earlier = run_thorax(t.train("run", {"--resume"}));
  CHECK(earlier.exit_code == 0);
  CHECK(says(earlier, "kept no checksums"));
}

TEST_CASE("a source of a manifest cannot lead out of the output folder") {
  const Setup t;
  t.succeed(t.train("lungs"));
  const std::string image = fs::directory_iterator(t / "phantoms/CXR_png")->path();
  const std::string stem = fs::path(image).stem().string();
  fs::create_directories(t / "precious");
  std::ofstream(t.path() / "precious" / (stem + ".png")) << "kept";
  for (const std::string& source :
       {std::string("../../precious"), t / "precious", std::string(".."), std::string("a\\b")}) {
    CAPTURE(source);
    std::ofstream(t / "m.csv") << "path,label,patient,source\n"
                               << image << ",COVID-19,1," << source << "\n";
    for (const char* area : {"0", "1000000"})
      t.refused({"segment", "--data", "manifest:" + (t / "m.csv"), "--model",
                 t / "lungs/last.safetensors", "--min-area", area, "--out", t / "out/cut"},
                "m.csv");
    CHECK(file_text(t.path() / "precious" / (stem + ".png")) == "kept");
    CHECK_FALSE(fs::exists(t / "out"));
  }
}

TEST_CASE("a run of an earlier version goes on, with lines about what it did not record") {
  const Setup t;
  t.succeed(t.train("whole"));
  t.half("run");
  // As that version wrote its configuration: without a mark, and with a checksum of names and
  // sizes.
  auto config = nlohmann::json::parse(file_text(t / "run/config.json"));
  for (const char* key : {"format", "format_version"}) config.erase(key);
  const std::string source = "shenzhen:" + (t / "phantoms");
  config["data_checksum"] = thorax::dataset_checksum(thorax::load_datasets({source}));
  config["settings"].erase("intensity");  // which that version did not know
  thorax::Checkpoint checkpoint = thorax::load_checkpoint(t / "run/last.safetensors");
  auto state = nlohmann::json::parse(checkpoint.texts.at("state"));
  state["lines"] = state.at("log").size();
  state.erase("log");
  auto trained = nlohmann::json::parse(checkpoint.texts.at("config"));
  trained["run"].erase("intensity");
  trained["run"]["data"] = {source};
  checkpoint.texts["state"] = state.dump();
  checkpoint.texts["config"] = trained.dump();
  thorax::save_checkpoint(t / "run/last.safetensors", checkpoint);
  const std::string earlier = config.dump();
  fs::copy(t / "run", t / "other", fs::copy_options::recursive);
  thorax::atomic_write(t / "run/config.json", std::string_view(earlier));
  const Outcome goes_on = run_thorax(t.train("run", {"--resume"}));
  INFO(goes_on.output);
  CHECK(goes_on.exit_code == 0);
  CHECK(says(goes_on, "was begun by an earlier version"));
  CHECK(says(goes_on, "says nothing of intensity, which goes on with its default"));
  CHECK(says(goes_on, "what it did not record is taken as it is now: intensity"));
  CHECK(file_text(t / "run/last.safetensors") == file_text(t / "whole/last.safetensors"));
  config["data_checksum"] = "0123456789abcdef";
  thorax::atomic_write(t / "other/config.json", std::string_view(config.dump()));
  t.refused(t.train("other", {"--resume"}), "the data is not what the run began with");
}
