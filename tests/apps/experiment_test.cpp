// Cross-validation, comparison and audit on phantoms, through the command: in one go, in pieces,
// merged.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "data/decode.h"
#include "tests/apps/commands.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

// Phantoms of 12 patients, and a segmenter of sorts.
struct Data {
  TemporaryFolder folder;
  Data() {
    run({"data", "phantoms", "--out", folder / "phantoms", "--patients", "12", "--max-images", "2",
         "--size", "64", "--seed", "4"});
    run({"train", "segmenter", "--data", "shenzhen:" + (folder / "phantoms"), "--size", "32",
         "--width", "4", "--epochs", "2", "--batch", "2", "--out", folder / "lungs"});
    std::ofstream(folder / "narrow.json") << R"({"model": {"model": "resnet18", "in_channels": 1,
      "head": "study", "hidden": [16], "outputs": 1, "stem": 8, "width": 8}})";
  }
  // Narrow networks: what is tested here is what happens around them.
  Arguments classifier() const {
    return {"--config",    folder / "narrow.json",
            "--data",      "manifest:" + (folder / "phantoms/manifest.csv"),
            "--segmenter", folder / "lungs/last.safetensors",
            "--min-area",  "0",
            "--size",      "64",
            "--epochs",    "1",
            "--batch",     "4",
            "--folds",     "2"};
  }
};

const Data& data() {
  static const Data made;
  return made;
}

}  // namespace

TEST_CASE("kfold: folds trained apart and merged are the folds trained together") {
  const TemporaryFolder t;
  const Arguments common =
      Arguments{"kfold", "classifier", "--model", "resnet18"} + data().classifier();
  const std::string whole = run(common + Arguments{"--out", t / "whole"});
  CHECK(whole.find("AUC") != std::string::npos);
  for (const char* name : {"report.html", "crossval/summary.json", "crossval/folds.csv",
                           "crossval/roc.svg", "crossval/roc.png", "crossval/confusion.svg",
                           "crossval/heatmaps.csv", "crossval/heatmaps/fold_1/heatmaps.csv"})
    CHECK(fs::file_size(t.path() / "whole" / name) > 0);

  const std::string half = run(common + Arguments{"--out", t / "a", "--only", "0"});
  CHECK(half.find("folds 1 left") != std::string::npos);
  CHECK_FALSE(fs::exists(t.path() / "a/report.html"));
  CHECK_FALSE(fs::exists(t.path() / "a/fold_1/result.json"));
  run(common + Arguments{"--out", t / "b", "--only", "1"});
  const std::string merged =
      run(common + Arguments{"--out", t / "a", "--resume", "--only", "0", "--merge", t / "b"});
  CHECK(merged.find("1 folds taken over") != std::string::npos);
  for (const char* fold : {"fold_0", "fold_1"})
    for (const char* file : {"predictions.csv", "last.safetensors"})
      CHECK(file_text(t.path() / "a" / fold / file) == file_text(t.path() / "whole" / fold / file));
  // Nothing in a report depends on when and in how many pieces a run was computed.
  for (const char* file : {"report.html", "crossval/summary.json", "fold_1/result.json"})
    CHECK(file_text(t.path() / "a" / file) == file_text(t.path() / "whole" / file));

  // A folder of other settings is no part of this run, and nothing of it is taken.
  const Arguments other = Arguments{"kfold", "classifier", "--model", "resnet18", "--lr", "0.001"} +
                          data().classifier();
  run(other + Arguments{"--out", t / "c", "--only", "0"});
  const std::string refused =
      refuse(other + Arguments{"--out", t / "c", "--resume", "--merge", t / "b"});
  CHECK(refused.find("is another experiment") != std::string::npos);
  CHECK(refused.find("settings.schedule.lr") != std::string::npos);
  CHECK_FALSE(fs::exists(t.path() / "c/fold_1/result.json"));
  // A broken fold is named.
  fs::resize_file(t.path() / "b/fold_1/predictions.csv", 40);
  run(common + Arguments{"--out", t / "d", "--only", "0"});
  CHECK(refuse(common + Arguments{"--out", t / "d", "--resume", "--merge", t / "b"})
            .find("predictions.csv") != std::string::npos);
}

TEST_CASE("kfold segmenter: figures by fold, and pictures of the worst and the best images") {
  const TemporaryFolder t;
  const std::string output = run(
      {"kfold", "segmenter", "--data", "shenzhen:" + (data().folder / "phantoms"), "--size", "32",
       "--width", "4", "--epochs", "1", "--batch", "2", "--folds", "2", "--out", t / "k"});
  CHECK(output.find("Hausdorff") != std::string::npos);
  // Dice by image, over both folds; the pictures' captions name the extremes.
  std::vector<std::pair<double, std::string>> dice;
  for (const char* fold : {"fold_0", "fold_1"}) {
    const auto p = thorax::CsvTable::read(t.path() / "k" / fold / "predictions.csv");
    for (std::int64_t i = 0; i < p.rows(); ++i)
      dice.emplace_back(std::stod(p.at(i, p.column("dice"))), p.at(i, p.column("image")));
  }
  std::sort(dice.begin(), dice.end());
  REQUIRE(dice.size() >= 8);
  const std::string html = file_text(t.path() / "k/report.html");
  const auto captioned = [&](const char* name, const std::pair<double, std::string>& row) {
    const std::size_t at = html.find(fmt::format("{}: Dice {:.4f}", name, row.first));
    return at != std::string::npos && html.find(row.second, at) < at + 200;
  };
  CHECK(captioned("worst_1", dice.front()));
  CHECK(captioned("best_1", dice.back()));
  for (const char* name : {"worst_1", "worst_4", "best_1", "best_4"}) {
    const auto info =
        thorax::read_image_info(t.path() / "k/crossval/overlays" / (std::string(name) + ".png"));
    CHECK(info.width == 512);
    CHECK(info.height == 512);
  }
}

TEST_CASE("compare: every network on every view, tables, tests, report; it goes on where it was") {
  const TemporaryFolder t;
  const Arguments common =
      Arguments{"compare", "--models", "resnet18,resnet34", "--out", t / "compare"} +
      data().classifier();
  const std::string part = run(common + Arguments{"--only", "resnet18-whole/1"});
  CHECK(part.find("resnet18-whole: folds 0 left") != std::string::npos);
  CHECK(part.find("resnet34-lungs: folds 0, 1 left") != std::string::npos);
  const auto when =
      fs::last_write_time(t.path() / "compare/rows/resnet18-whole/fold_1/model.safetensors");
  CHECK(refuse(common).find("holds a run already") != std::string::npos);
  CHECK(refuse(common + Arguments{"--resume", "--only", "resnet50-whole"})
            .find("there is no such row; rows: resnet18-whole") != std::string::npos);
  const std::string all = run(common + Arguments{"--resume"});
  CHECK(fs::last_write_time(t.path() / "compare/rows/resnet18-whole/fold_1/model.safetensors") ==
        when);
  const auto table = thorax::CsvTable::read(t.path() / "compare/comparison/table7.csv");
  CHECK(table.rows() == 4);
  CHECK(table.find_column("minutes") < 0);
  CHECK(thorax::CsvTable::read(t.path() / "compare/comparison/tests.csv").rows() == 4);
  CHECK(thorax::CsvTable::read(t.path() / "compare/comparison/heatmaps.csv").rows() == 4);
  // A finished fold that was edited is named, and not reported.
  const fs::path edited = t.path() / "compare/rows/resnet18-whole/fold_1/predictions.csv";
  const std::string before = file_text(edited);
  std::ofstream(edited, std::ios::app) << "\n";
  CHECK(refuse(common + Arguments{"--resume"}).find("fold_1/predictions.csv: is not what it was") !=
        std::string::npos);
  std::ofstream(edited) << before;
  // The same images are held out in the same fold of every row.
  const auto ids = [&](const std::string& row, const char* fold) {
    const auto p =
        thorax::CsvTable::read(t.path() / "compare/rows" / row / fold / "predictions.csv");
    Arguments result;
    for (std::int64_t i = 0; i < p.rows(); ++i) result.push_back(p.at(i, p.column("image")));
    std::sort(result.begin(), result.end());
    return result;
  };
  CHECK(ids("resnet18-whole", "fold_0") == ids("resnet34-lungs", "fold_0"));
  CHECK(ids("resnet18-whole", "fold_0") != ids("resnet18-whole", "fold_1"));
  // Checkpoints make way for the weights.
  CHECK_FALSE(fs::exists(t.path() / "compare/rows/resnet18-whole/fold_1/last.safetensors"));
  const std::string html = file_text(t.path() / "compare/report.html");
  CHECK(html.find("resnet34-lungs") != std::string::npos);
}

TEST_CASE("audit: headline, controls, duplicates, heatmaps and a verdict") {
  const TemporaryFolder t;
  const Arguments common =
      Arguments{"audit", "--model", "resnet18", "--heatmaps", "4", "--out", t / "audit"} +
      data().classifier();
  const std::string output = run(common);
  CHECK(output.find("Verdict: ") != std::string::npos);
  const auto table = thorax::CsvTable::read(t.path() / "audit/audit/controls.csv");
  CHECK(table.rows() == 9);
  const auto verdict = nlohmann::json::parse(file_text(t.path() / "audit/audit/verdict.json"));
  CHECK(verdict.back().at("text").get<std::string>().starts_with("Verdict: "));
  CHECK(fs::exists(t.path() / "audit/report.html"));
  CHECK(fs::exists(t.path() / "audit/audit/heatmaps/fold_1/heatmaps.csv"));
  // Random labels: other labels, as many of each class of patients, one per patient.
  const auto read = [&](const char* row) {
    std::map<std::string, std::string> label_of;
    for (const char* fold : {"fold_0", "fold_1"}) {
      const auto p =
          thorax::CsvTable::read(t.path() / "audit/rows" / row / fold / "predictions.csv");
      for (std::int64_t i = 0; i < p.rows(); ++i) {
        const std::string& patient = p.at(i, p.column("patient"));
        const std::string& label = p.at(i, p.column("label"));
        CHECK(label_of.emplace(patient, label).first->second == label);
      }
    }
    return label_of;
  };
  const auto truth = read("lungs"), random = read("random-labels");
  const auto positives = [](const auto& labels) {
    return std::count_if(labels.begin(), labels.end(),
                         [](const auto& l) { return l.second == "1"; });
  };
  CHECK(truth.size() == 12);
  CHECK(truth != random);
  CHECK(positives(truth) == positives(random));
  CHECK(refuse({"audit", "--data", "manifest:" + (data().folder / "phantoms/manifest.csv"), "--out",
                t / "none"})
            .find("give --segmenter") != std::string::npos);
}
