// Runs on data and machines that are not all they should be: unreadable images, no gnuplot,
// signals.
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "tests/apps/commands.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

void make_phantoms(const std::string& folder) {
  run({"data", "phantoms", "--out", folder, "--patients", "10", "--max-images", "1", "--size",
       "64"});
}

struct Path {
  explicit Path(const std::string& value) { setenv("PATH", value.c_str(), 1); }
  ~Path() { setenv("PATH", before.c_str(), 1); }
  const std::string before = std::getenv("PATH");
};

Arguments kfold(const std::string& phantoms, const std::string& out) {
  return {"kfold",    "segmenter", "--data",  "shenzhen:" + phantoms,
          "--size",   "32",        "--width", "2",
          "--epochs", "1",         "--batch", "4",
          "--folds",  "2",         "--out",   out};
}

}  // namespace

TEST_CASE("skipped images are decided on before the split, and listed") {
  const TemporaryFolder t;
  make_phantoms(t / "ph");
  std::vector<fs::path> images;
  for (const auto& entry : fs::directory_iterator(t / "ph/CXR_png")) images.push_back(entry.path());
  std::sort(images.begin(), images.end());
  // More than a batch, and the whole of a class would still be there.
  for (const std::size_t i : {0, 2, 5}) fs::resize_file(images[i], 100);
  std::ofstream(t / "c.json") << R"({"model": {"model": "resnet18", "in_channels": 1,
    "head": "study", "hidden": [4], "outputs": 1, "stem": 4, "width": 2}})";
  const Arguments train{"train",
                        "classifier",
                        "--data",
                        "manifest:" + (t / "ph/manifest.csv"),
                        "--validation-share",
                        "0.4",
                        "--config",
                        t / "c.json",
                        "--size",
                        "64",
                        "--batch",
                        "2",
                        "--epochs",
                        "1"};
  run(train + Arguments{"--out", t / "fail"}, 1);
  const std::string said = run(train + Arguments{"--out", t / "run", "--on-error", "skip"});
  const auto list = thorax::CsvTable::read(t / "run/unreadable.csv");
  CHECK(list.rows() == 3);
  CHECK(has(said, "left out: "));
  for (const std::size_t i : {0, 2, 5}) CHECK(has(said, images[i].string()));
  CHECK(has(said, "3 removed by all: readable file"));
  // Who reads only the result sees it, too.
  const auto result = nlohmann::json::parse(file_text(t / "run/result.json"));
  CHECK(result["left_out"] == nlohmann::json{{"readable file", 3}});
  const auto splits = nlohmann::json::parse(file_text(t / "run/splits.json"));
  CHECK(splits["folds"][0]["train"].size() + splits["folds"][0]["validation"].size() == 7);
  run(train + Arguments{"--out", t / "run", "--on-error", "skip", "--resume"});
  const std::string none = run({"predict", images[0].string(), images[1].string(), "--classifier",
                                t / "run/last.safetensors", "--on-error", "skip", "--json"});
  const auto rows = nlohmann::json::parse(none.substr(none.find("[\n")));
  REQUIRE(rows.size() == 2);
  CHECK(rows[0]["verdict"] == "unreadable");
  CHECK(rows[0]["probability"].is_null());
  CHECK(has(rows[0]["reason"], images[0].filename().string()));
}

TEST_CASE("views of lungs that nobody knows are refused before anything is made") {
  const TemporaryFolder t;
  make_phantoms(t / "ph");
  // Class folders without masks, of which `compare` shows the lungs unless told otherwise.
  bool first = true;
  for (const auto& entry : fs::directory_iterator(t / "ph/CXR_png")) {
    const fs::path to = fs::path(t / "classes") / (first ? "covid" : "normal");
    first = !first;
    fs::create_directories(to);
    fs::copy_file(entry.path(), to / entry.path().filename());
  }
  const Arguments data{
      "--data", "folder:" + (t / "classes"), "--size", "32", "--folds", "2", "--out", t / "run"};
  const Arguments compare = Arguments{"compare", "--models", "resnet18"} + data;
  const std::string wanted =
      "the view 'lungs' needs to know the lungs; 10 of 10 images have no lung mask, the first is ";
  for (const Arguments& command :
       {compare, compare + Arguments{"--dry-run"},
        Arguments{"kfold", "classifier", "--model", "resnet18", "--view", "lungs"} + data}) {
    const std::string said = refuse(command);
    INFO(said);
    CHECK(has(said, wanted));
    CHECK(has(said, "give --segmenter, or masks (--data KIND:PATH,masks=FOLDER)"));
    CHECK_FALSE(fs::exists(t / "run"));
  }
  run(compare + Arguments{"--views", "whole", "--dry-run"});
}

TEST_CASE("a batch of one that batch norm cannot take is refused before anything is made") {
  const TemporaryFolder t;
  make_phantoms(t / "ph");
  const Arguments train{"train",    "classifier", "--data",  "manifest:" + (t / "ph/manifest.csv"),
                        "--model",  "resnet18",   "--batch", "1",
                        "--epochs", "1",          "--out",   t / "run"};
  const std::string said = run(train + Arguments{"--size", "32"}, 1);
  CHECK(has(said, "--batch 1 with --size 32"));
  CHECK(has(said, "give --batch 2 or more"));
  CHECK(!fs::exists(t / "run"));
}

TEST_CASE("without gnuplot a run says so first, and its tables are written all the same") {
  const TemporaryFolder t;
  make_phantoms(t / "ph");
  const Path path("/nonexistent");
  const std::string said = run(kfold(t / "ph", t / "run"));
  const std::size_t note = said.find("the report will have its tables and no figures");
  REQUIRE(note != std::string::npos);
  CHECK(note < said.find("epoch 1/1"));
  CHECK(has(file_text(t / "run/report.html"), "gnuplot is not installed"));
  // The mean distance says over how many images it is.
  const auto folds = thorax::CsvTable::read(t / "run/crossval/folds.csv");
  for (int k = 0; k < 2; ++k) {
    const auto scored =
        thorax::CsvTable::read(t / ("run/fold_" + std::to_string(k) + "/predictions.csv"));
    int measured = 0, missed = 0;
    for (std::int64_t row = 0; row < scored.rows(); ++row) {
      const bool distance = !scored.at(row, scored.column("hausdorff95")).empty();
      measured += distance;
      missed += !distance && std::stod(scored.at(row, scored.column("dice"))) == 0;
    }
    CHECK(folds.at(k, folds.column("with distance")) == std::to_string(measured));
    CHECK(folds.at(k, folds.column("missed")) == std::to_string(missed));
  }
  CHECK(has(run({"data", "figures", "--data", "shenzhen:" + (t / "ph"), "--out", t / "fig"}, 1),
            "gnuplot is not installed"));
  CHECK(!fs::exists(t / "fig"));
}

TEST_CASE("a gnuplot that hangs is ended") {
  const TemporaryFolder t;
  make_phantoms(t / "ph");
  fs::create_directories(t / "bin");
  std::ofstream(t / "bin/gnuplot") << "#!/bin/sh\nexec /bin/sleep 1000\n";
  fs::permissions(t / "bin/gnuplot", fs::perms::owner_all);
  const Path path(t / "bin");
  CHECK(has(run({"data", "figures", "--data", "shenzhen:" + (t / "ph"), "--out", t / "fig"}, 1),
            "gnuplot did not end within"));
}

TEST_CASE("a scheduler's signal: a checkpoint is written, exit code 3, and the run goes on") {
  const TemporaryFolder t;
  make_phantoms(t / "ph");
  const Arguments train{"train",   "segmenter", "--data",   "shenzhen:" + (t / "ph"),
                        "--size",  "32",        "--width",  "2",
                        "--batch", "2",         "--epochs", "100000",
                        "--out",   t / "run"};
  for (const int signal : {SIGUSR1, SIGHUP}) {
    Arguments all = train;
    if (signal != SIGUSR1) all.push_back("--resume");
    const Outcome outcome = run_thorax(all, 3000, signal);
    INFO(outcome.output);
    CHECK(outcome.exit_code == 3);
    CHECK(has(outcome.output, "stopped; continue with --resume"));
    CHECK(fs::exists(t / "run/last.safetensors"));
  }
}
