// Several findings an image through the command: train, kfold in parts, predict, explain, refusals.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "engine/io/safetensors.h"
#include "engine/train/checkpoint.h"
#include "tests/apps/commands.h"

using namespace thorax::test;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// Phantoms of 20 patients with two findings each, some unknown: one that is drawn, one that is not.
struct Findings {
  TemporaryFolder folder;
  std::string data;
  explicit Findings(const std::string& findings = "label:opacity,label:effusion") {
    run({"data", "phantoms", "--out", folder / "ph", "--patients", "20", "--max-images", "1",
         "--size", "48", "--seed", "4"});
    const auto table = thorax::CsvTable::read(folder.path() / "ph/manifest.csv");
    std::ofstream csv(folder.path() / "ph/findings.csv");
    csv << "path,patient," << findings << "\n";
    const bool two = has(findings, ",");
    for (std::int64_t r = 0; r < table.rows(); ++r) {
      const bool ill = table.at(r, table.column("label")) == "COVID-19";
      csv << table.at(r, table.column("path")) << "," << table.at(r, table.column("patient")) << ","
          << (r % 9 == 8 ? ""
              : ill      ? "1"
                         : "0");
      if (two) csv << "," << (r % 7 == 6 ? "-1" : r % 3 == 0 ? "1" : "0");
      csv << "\n";
    }
    data = "manifest:" + (folder / "ph/findings.csv");
    std::ofstream(folder / "narrow.json") << R"({"model": {"model": "resnet18", "in_channels": 1,
      "head": "study", "hidden": [8], "outputs": 1, "stem": 4, "width": 4}})";
  }
  Arguments with(const Arguments& what, const std::string& options = "") const {
    return what + Arguments{"--config",  folder / "narrow.json",
                            "--data",    data + options,
                            "--size",    "48",
                            "--epochs",  "1",
                            "--batch",   "4",
                            "--augment", "none"};
  }
};

std::map<std::string, std::string> metadata_of(const std::string& file) {
  return thorax::read_safetensors_header(file).metadata;
}

}  // namespace

TEST_CASE("several findings: kfold in parts gives what one go gives, with a figure for each") {
  const Findings f;
  const Arguments whole{"kfold", "classifier", "--folds",    "2",     "--heatmaps",
                        "2",     "--task",     "multilabel", "--out", f.folder / "k"};
  const std::string out = run(f.with(whole));
  for (const char* text :
       {"positive  negative  unknown", "macro AUC", "opacity", "effusion", "micro"})
    CHECK(has(out, text));
  const fs::path k = f.folder.path() / "k";
  const json summary = json::parse(file_text(k / "crossval/summary.json"));
  CHECK(summary.at("findings") == json({"opacity", "effusion"}));
  CHECK(summary.at("all").at("findings").at(0).at("unknown") == 2);
  CHECK(summary.at("all").at("findings").at(1).at("unknown") == 2);
  CHECK(summary.at("figures").size() == 4 * 6);
  CHECK(has(file_text(k / "report.html"), "findings, of which an image may have several"));
  CHECK(summary.at("calibration").size() == 2);
  CHECK(thorax::CsvTable::read(k / "crossval/calibration.csv").rows() == 3);
  CHECK(has(file_text(k / "crossval/claim.csv"), "2 fold(s), stratified by all findings"));
  const auto folds = thorax::CsvTable::read(k / "fold_0/predictions.csv");
  CHECK(folds.columns() == std::vector<std::string>{"image", "patient", "source", "label(opacity)",
                                                    "P(opacity)", "label(effusion)",
                                                    "P(effusion)"});
  // Names, order and thresholds are the checkpoint's; the folds' tables show them.
  const std::string model = k / "fold_0/last.safetensors";
  const json input = json::parse(metadata_of(model).at("thorax.input"));
  CHECK(input.at("classes") == json({"opacity", "effusion"}));
  CHECK(input.at("labels") == "multi");
  CHECK_FALSE(input.contains("positive"));
  CHECK_FALSE(metadata_of(model).contains("thorax.threshold"));
  const json thresholds = json::parse(metadata_of(model).at("thorax.thresholds")).at("findings");
  REQUIRE(thresholds.size() == 2);
  const auto by_fold = thorax::CsvTable::read(k / "crossval/findings_by_fold.csv");
  REQUIRE(by_fold.rows() == 4);
  for (std::size_t i = 0; i < 2; ++i)
    if (thresholds[i].contains("threshold"))
      CHECK(std::stod(by_fold.at(static_cast<std::int64_t>(2 * i), by_fold.column("threshold"))) ==
            thresholds[i].at("threshold"));
  CHECK(json::parse(file_text(k / "config.json")).at("settings").at("model").at("outputs") == 2);
  CHECK(json::parse(file_text(k / "config.json")).at("settings").at("classification") ==
        "multilabel");
  CHECK(has(run({"weights", "show", model}), "thorax.thresholds"));

  // What would be done, before it is.
  const std::string planned = run(f.with(
      {"kfold", "classifier", "--folds", "2", "--dry-run", "--json", "--out", f.folder / "plan"}));
  // The program's other lines, on stderr, stand before and after it.
  const std::size_t begin = planned.find("{\n"), end = planned.rfind("\n}");
  REQUIRE(end < planned.size());
  const json plan = json::parse(planned.substr(begin, end + 2 - begin));
  std::int64_t ill = 0;
  for (const json& fold : plan.at("folds"))
    ill += fold.at("validation").at("classes").at("opacity").get<std::int64_t>();
  CHECK(ill == summary.at("all").at("findings").at(0).at("positive"));
  CHECK_FALSE(fs::exists(f.folder / "plan"));

  // The folds one by one, the second elsewhere (and there by the data's own word), merged.
  const Arguments part{"kfold", "classifier", "--folds", "2", "--heatmaps", "2"};
  CHECK(has(run(f.with(part + Arguments{"--only", "0", "--out", f.folder / "a"})), "folds 1 left"));
  run(f.with(part + Arguments{"--only", "1", "--out", f.folder / "b"}));
  run(f.with(part + Arguments{"--resume", "--merge", f.folder / "b", "--out", f.folder / "a"}));
  for (const char* file : {"fold_0/predictions.csv", "fold_1/predictions.csv",
                           "crossval/summary.json", "fold_1/result.json"})
    CHECK(file_text(f.folder.path() / "a" / file) == file_text(k / file));
  // Other labels are another run.
  const std::string refused =
      run(f.with(part + Arguments{"--resume", "--out", f.folder / "a"}, ",uncertain=ones"), 1);
  CHECK(has(refused, "the data is not what the run began with"));
}

TEST_CASE("several findings: predict and explain name each, by the checkpoint's thresholds") {
  const Findings f;
  const std::string trained =
      run(f.with({"train", "classifier", "--validation-share", "0.4", "--out", f.folder / "t"}));
  CHECK(has(trained, "Validation, "));
  CHECK(has(trained, "macro"));
  const std::string model = f.folder / "t/last.safetensors";
  const json thresholds = json::parse(metadata_of(model).at("thorax.thresholds")).at("findings");
  const Arguments predict{"predict", f.folder / "ph/CXR_png", "--classifier", model};
  const std::string text = run(predict);
  for (const char* part : {"P(opacity)", "P(effusion)", "every finding from its threshold of P on"})
    CHECK(has(text, part));
  const auto check = [&](const Arguments& more, const std::vector<double>& limits) {
    for (const json& row : json::parse(run(predict + Arguments{"--json"} + more))) {
      std::string verdict;
      REQUIRE(row.at("findings").size() == 2);
      for (std::size_t i = 0; i < 2; ++i) {
        const json& finding = row.at("findings").at(i);
        const double p = finding.at("probability");
        CHECK(finding.at("threshold") == limits[i]);
        CHECK(finding.at("verdict") == (p >= limits[i] ? "positive" : "negative"));
        if (p >= limits[i])
          verdict += (verdict.empty() ? "" : ", ") + finding.at("finding").get<std::string>();
      }
      CHECK(row.at("verdict") == (verdict.empty() ? "none" : verdict));
      CHECK_FALSE(row.contains("positive_class"));
    }
  };
  check({}, {thresholds[0].value("threshold", 0.5), thresholds[1].value("threshold", 0.5)});
  check({"--threshold", "0.25"}, {0.25, 0.25});
  check({"--threshold", "1"}, {1, 1});

  const Arguments explain{"explain", "--data", f.data,          "--classifier",
                          model,     "--out",  f.folder / "why"};
  CHECK(has(run(explain + Arguments{"--class", "Effusion"}), "for the finding effusion"));
  auto heat = thorax::CsvTable::read(f.folder / "why/heatmaps.csv");
  for (std::int64_t r = 0; r < heat.rows(); ++r)
    CHECK(heat.at(r, heat.column("explained")) == "effusion");
  // An image with two findings counts with both.
  const json summary = json::parse(file_text(f.folder / "why/summary.json"));
  const auto table = thorax::CsvTable::read(f.folder.path() / "ph/findings.csv");
  for (const json& row : summary.at("classes")) {
    if (row.at("class") == "all") continue;
    const int c = table.column("label:" + row.at("class").get<std::string>());
    int wanted = 0;
    for (std::int64_t r = 0; r < table.rows(); ++r) wanted += table.at(r, c) == "1";
    CHECK(row.at("images") == wanted);
  }
  CHECK(summary.at("positive").is_null());
  CHECK(has(run(explain), "each image's most probable finding"));
  CHECK(has(run(explain + Arguments{"--class", "positive"}, 1),
            "no such class or finding; there are: predicted, opacity, effusion"));

  // Damaged thresholds are named, not guessed.
  thorax::Checkpoint odd = thorax::load_checkpoint(model);
  odd.texts["thorax.thresholds"] = R"({"findings": [{"finding": "effusion"}]})";
  thorax::save_checkpoint(f.folder / "odd.safetensors", odd);
  CHECK(has(
      run({"predict", f.folder / "ph/CXR_png", "--classifier", f.folder / "odd.safetensors"}, 1),
      "does not name the findings opacity, effusion in their order"));
  odd.texts.erase("thorax.thresholds");
  thorax::save_checkpoint(f.folder / "plain.safetensors", odd);
  CHECK(
      has(run({"predict", f.folder / "ph/CXR_png", "--classifier", f.folder / "plain.safetensors"}),
          "opacity from P = 0.5 (the checkpoint has no threshold of its own)"));
}

TEST_CASE("several findings: one alone, a start from other weights, and what cannot be done") {
  const Findings one("label:opacity");
  run(one.with({"train", "classifier", "--validation-share", "0.4", "--out", one.folder / "t"}));
  const std::string model = one.folder / "t/last.safetensors";
  CHECK(has(run({"predict", one.folder / "ph/CXR_png", "--classifier", model}), "P(opacity)"));
  const std::string image = one.folder / "ph/CXR_png/PHANTOM_0000_0_0.png";
  CHECK(has(run({"explain", image, "--classifier", model, "--class", "opacity", "--out",
                 one.folder / "why"}),
            "for the finding opacity"));
  // Findings drawn as often: other draws, kept in the configuration.
  run(one.with({"train", "classifier", "--validation-share", "0.4", "--sampling", "balanced",
                "--out", one.folder / "b"}));
  CHECK(json::parse(file_text(one.folder / "b/config.json")).at("settings").at("sampling") ==
        "balanced");
  const auto loss = [&](const std::string& name) {
    return json::parse(file_text(one.folder / (name + "/metrics.jsonl"))).at("train_loss");
  };
  CHECK(loss("b") != loss("t"));
  // The same findings go on with their head, others start it anew.
  CHECK(has(run(one.with({"train", "classifier", "--validation-share", "0.4", "--weights", model,
                          "--out", one.folder / "again"})),
            "its head is taken over, too"));
  const Findings two;
  CHECK(has(run(two.with({"train", "classifier", "--validation-share", "0.4", "--weights", model,
                          "--out", two.folder / "other"})),
            "of its head left out"));

  const auto refused = [&](const Arguments& arguments, const std::string& message) {
    const std::string said = run(two.with(arguments + Arguments{"--out", two.folder / "no"}), 1);
    INFO(said);
    CHECK(has(said, message));
    CHECK_FALSE(fs::exists(two.folder / "no"));
  };
  refused({"train", "classifier", "--task", "binary"},
          "--task binary: the data has several findings an image: opacity, effusion");
  CHECK(has(run(two.with({"train", "classifier", "--out", two.folder / "no"},
                         ",findings=opacity,uncertain=ones,blank=negative") +
                    Arguments{"--task", "multiclass"},
                1),
            "--task multiclass: the data has several findings"));
  CHECK(
      has(run({"explain", "--data", two.data, "--classifier", model, "--out", two.folder / "why"}),
          "does not know the data's finding 'effusion'"));
  // Never negative: nothing to learn from.
  const std::string csv = two.folder / "ph/findings.csv";
  std::string text = "path,label:opacity\n";
  const auto table = thorax::CsvTable::read(csv);
  for (std::int64_t r = 0; r < table.rows(); ++r) text += table.at(r, 0) + ",1\n";
  std::ofstream(csv) << text;
  refused({"train", "classifier"}, "opacity (20 positive, 0 negative, 0 unknown)");
}

TEST_CASE(
    "several findings: the simulated GPU follows the CPU, graph or not; exported with a sigmoid "
    "each") {
  const Findings f;
  const auto train = [&](const std::string& name, const Arguments& more) {
    run(Arguments{"train",
                  "classifier",
                  "--config",
                  f.folder / "narrow.json",
                  "--data",
                  f.data,
                  "--size",
                  "16",
                  "--epochs",
                  "1",
                  "--batch",
                  "6",
                  "--augment",
                  "none",
                  "--validation-share",
                  "0.4",
                  "--norm-batches",
                  "0",
                  "--out",
                  f.folder / name} +
        more);
    std::ifstream log(f.folder.path() / name / "metrics.jsonl");
    std::string line, last;
    while (std::getline(log, line))
      if (!line.empty()) last = line;
    return json::parse(last);
  };
  const json cpu = train("cpu", {}), sim = train("sim", {"--device", "sim"});
  for (const char* key : {"loss", "train_loss"})
    CHECK(sim.at(key).get<double>() == doctest::Approx(cpu.at(key).get<double>()).epsilon(1e-4));
  CHECK(train("graph", {"--device", "sim", "--graph"}) == sim);

  const json exported = json::parse(run({"export", f.folder / "cpu/last.safetensors", "--onnx",
                                         f.folder / "findings.onnx", "--json"}));
  CHECK(exported.at("classes") == json({"opacity", "effusion"}));
  CHECK(exported.at("operators").contains("Sigmoid"));
  CHECK_FALSE(exported.at("operators").contains("Softmax"));
}
