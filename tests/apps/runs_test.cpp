// `thorax runs`: the table, the metrics and the event files of real runs.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "tests/apps/commands.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

// A folder with a trained segmenter, a cross-validated classifier, and a folder that is no run.
struct Runs {
  TemporaryFolder folder;
  Runs() {
    run({"data", "phantoms", "--out", folder / "data", "--patients", "12", "--max-images", "1",
         "--size", "32"});
    const std::string data = "manifest:" + (folder / "data/manifest.csv");
    run({"train", "segmenter", "--data", data, "--out", folder / "runs/deep/lungs", "--width", "2",
         "--size", "32", "--epochs", "2", "--batch", "4"});
    run({"kfold", "classifier", "--data", data, "--out", folder / "runs/covid", "--model",
         "resnet18", "--size", "32", "--folds", "2", "--epochs", "1", "--batch", "4"});
    fs::create_directories(folder / "runs/other");
    std::ofstream(folder / "runs/other/config.json") << R"({"name": "not ours"})";
  }
};

nlohmann::json rows_of(const std::string& output) {
  return nlohmann::json::parse(output.substr(output.find("{\n")))["rows"];
}

}  // namespace

TEST_CASE("runs: table, metrics and event files") {
  const Runs runs;
  const std::string root = runs.folder / "runs";

  const std::string text = run({"runs", root});
  CHECK(text.find("left out: ") != std::string::npos);  // and why
  CHECK(text.find("runs/other") != std::string::npos);
  const nlohmann::json rows = rows_of(run({"runs", root, "--json"}));
  REQUIRE(rows.size() == 2);
  CHECK(rows[0]["run"] == "covid");
  CHECK(rows[0]["command"] == "kfold classifier");
  CHECK(rows[0]["network"] == "resnet18");
  CHECK(rows[0]["state"] == "finished");
  CHECK(rows[0]["finished folds"] == "2 of 2");
  CHECK(rows[1]["run"] == "deep/lungs");
  CHECK(rows[1]["epochs"] == 2);

  SUBCASE("the numbers are those of metrics.jsonl") {
    std::string line, last;
    std::ifstream log(root + "/deep/lungs/metrics.jsonl");
    while (std::getline(log, line)) last = line;
    const nlohmann::json metrics = nlohmann::json::parse(last);
    CHECK(rows[1]["Dice"] == metrics["dice"]);
    CHECK(rows[1]["loss"] == metrics["loss"]);
    double mean = 0;
    for (const char* fold : {"fold_0", "fold_1"}) {
      std::ifstream(root + "/covid/" + fold + "/metrics.jsonl") >> line;
      mean += nlohmann::json::parse(line)["loss"].get<double>() / 2;
    }
    CHECK(rows[0]["loss"].get<double>() == doctest::Approx(mean).epsilon(1e-14));

    run({"runs", root, "--metrics", runs.folder / "metrics.csv"});
    const auto table = thorax::CsvTable::read(runs.folder / "metrics.csv");
    bool found = false;
    for (std::int64_t r = 0; r < table.rows(); ++r)
      if (table.at(r, 0) == "deep/lungs" && table.at(r, 2) == "2" && table.at(r, 3) == "dice") {
        found = true;
        CHECK(std::stod(table.at(r, 4)) == metrics["dice"].get<double>());
      }
    CHECK(found);
  }

  SUBCASE("rows for folds, chosen and sorted") {
    CHECK(rows_of(run({"runs", root, "--json", "--folds"})).size() == 3);
    const auto chosen = rows_of(run({"runs", root, "--json", "--filter", "command=train"}));
    REQUIRE(chosen.size() == 1);
    CHECK(chosen[0]["run"] == "deep/lungs");
    CHECK(rows_of(run({"runs", root, "--json", "--sort", "epochs"}))[0]["epochs"] == 2);
    CHECK(rows_of(run({"runs", root, "--json", "--sort", "-run"}))[0]["run"] == "deep/lungs");
    const Outcome wrong = run_thorax({"runs", root, "--sort", "auc"});
    CHECK(wrong.exit_code == 1);
    CHECK(wrong.output.find("there is no such column; there are: run, command") !=
          std::string::npos);
    CHECK(run_thorax({"runs", root, "--filter", "state"}).exit_code == 1);
    CHECK(run({"runs", root, "--filter", "state=at work"}).find("no run is below it") !=
          std::string::npos);
    CHECK(run_thorax({"runs", root + "/nowhere"}).exit_code == 1);
  }

  SUBCASE("event files say the same at any time and are appended to by a run that goes on") {
    const std::string out = runs.folder / "board";
    const std::string file = out + "/deep/lungs/events.out.tfevents.0.thorax";
    CHECK(run({"runs", root, "--tensorboard", out}).find("4 event files, 4 of them new") !=
          std::string::npos);
    CHECK(fs::exists(out + "/covid/fold_1/events.out.tfevents.0.thorax"));
    const std::string before = file_text(file);
    CHECK(before.find("validation/dice") != std::string::npos);
    CHECK(run({"runs", root, "--tensorboard", out}).find(", 0 of them new") != std::string::npos);
    CHECK(file_text(file) == before);
    // Another epoch, as the trainer would write it.
    std::ofstream(root + "/deep/lungs/metrics.jsonl", std::ios::app)
        << R"({"dice":0.5,"epoch":3,"kind":"epoch","loss":0.4,"lr":0.1,"step":9,"train_loss":0.4})"
        << "\n";
    CHECK(run({"runs", root, "--tensorboard", out}).find(", 1 of them new") != std::string::npos);
    const std::string after = file_text(file);
    CHECK(after.size() > before.size());
    CHECK(after.starts_with(before));

    const Outcome inside = run_thorax({"runs", root, "--tensorboard", root + "/covid/board"});
    CHECK(inside.exit_code == 1);
    CHECK(inside.output.find("lies inside the run covid") != std::string::npos);
    CHECK_FALSE(fs::exists(root + "/covid/board"));
  }
}
