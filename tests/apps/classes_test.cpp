// Classes through the command: their order, what is refused, which threshold a verdict goes by.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "data/csv.h"
#include "engine/io/safetensors.h"
#include "engine/train/checkpoint.h"
#include "tests/apps/commands.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

// Phantoms of 20 patients as class folders of these names; a narrow network's settings.
struct Folders {
  TemporaryFolder folder;
  Folders(const std::string& negative, const std::string& positive) {
    run({"data", "phantoms", "--out", folder / "ph", "--patients", "20", "--max-images", "1",
         "--size", "48", "--seed", "4"});
    for (const std::string& name : {negative, positive})
      fs::create_directories(folder.path() / "d" / name);
    for (const auto& entry : fs::directory_iterator(folder.path() / "ph/CXR_png")) {
      const bool ill = entry.path().stem().string().ends_with("_1");
      fs::copy_file(entry.path(),
                    folder.path() / "d" / (ill ? positive : negative) / entry.path().filename());
    }
    std::ofstream(folder / "narrow.json") << R"({"model": {"model": "resnet18", "in_channels": 1,
      "head": "study", "hidden": [8], "outputs": 1, "stem": 4, "width": 4}})";
  }
  Arguments with(const Arguments& what, const std::string& options = "") const {
    return what + Arguments{"--config",  folder / "narrow.json",
                            "--data",    "folder:" + (folder / "d") + options,
                            "--size",    "48",
                            "--epochs",  "1",
                            "--batch",   "4",
                            "--augment", "none"};
  }
};

}  // namespace

TEST_CASE("classes nobody can order: describe says what train refuses, and nothing is written") {
  const Folders f("left", "right");
  const std::string described = run({"data", "describe", "--data", "folder:" + (f.folder / "d")});
  const Arguments train = f.with({"train", "classifier", "--out", f.folder / "run"});
  const std::string refused = run(train, 1);
  for (const std::string& text : {described, refused}) {
    CHECK(has(text,
              "which of the classes is the positive one cannot be told from their names: left ("));
    CHECK(has(text, "positive=NAME"));
  }
  CHECK_FALSE(fs::exists(f.folder / "run"));
  // Of three classes two can be kept.
  fs::create_directories(f.folder.path() / "d/middle");
  fs::copy_file(f.folder.path() / "ph/CXR_png/PHANTOM_0000_0_0.png",
                f.folder.path() / "d/middle/PHANTOM_0000_0_0.png");
  const std::string three = "folder:" + (f.folder / "d");
  const auto json = nlohmann::json::parse(
      run({"data", "describe", "--data", three + ",classes=left,right,positive=left", "--json"}));
  CHECK(json.at("positive") == "left");
  CHECK(json.at("classifier_problem").is_null());
}

TEST_CASE(
    "the positive class is named everywhere, and predict goes by the checkpoint's threshold") {
  const Folders f("left", "right");
  const std::string out = run(
      f.with({"kfold", "classifier", "--folds", "2", "--heatmaps", "0", "--out", f.folder / "k"},
             ",positive=left"));
  CHECK(has(out, "(positive)"));
  CHECK(has(out, "Positive class: left; negative: right."));
  CHECK(has(file_text(f.folder / "k/report.html"), "positive class left, negative right"));
  const auto summary = nlohmann::json::parse(file_text(f.folder / "k/crossval/summary.json"));
  CHECK(summary.at("positive") == "left");
  const auto folds = thorax::CsvTable::read(f.folder / "k/crossval/folds.csv");
  REQUIRE(folds.rows() == 5);
  CHECK(folds.at(4, 0) == "folds with a value");
  CHECK(folds.at(4, folds.column("AUC")) == "2");

  const std::string model = f.folder / "k/fold_0/last.safetensors";
  const auto metadata = thorax::read_safetensors_header(model).metadata;
  const auto input = nlohmann::json::parse(metadata.at("thorax.input"));
  CHECK(input.at("classes") == nlohmann::json({"right", "left"}));
  CHECK(input.at("positive") == "left");
  const auto chosen = nlohmann::json::parse(metadata.at("thorax.threshold"));
  const auto thresholds = thorax::CsvTable::read(f.folder / "k/crossval/thresholds.csv");
  CHECK(std::stod(thresholds.at(0, thresholds.column("threshold"))) == chosen.at("threshold"));

  // Thresholds are found on probabilities as they are (ensemble_test.cpp: at a temperature).
  const Arguments predict{"predict", f.folder / "ph/CXR_png", "--classifier",
                          model,     "--temperature",         "off"};
  const std::string text = run(predict);
  CHECK(has(text, fmt::format("verdict left from P = {} (the checkpoint's: Youden's point of its ",
                              chosen.at("threshold").get<double>())));
  CHECK(has(text, "P(left)"));
  const auto verdicts = [&](const Arguments& more, double threshold) {
    for (const auto& row : nlohmann::json::parse(run(predict + Arguments{"--json"} + more))) {
      CHECK(row.at("positive_class") == "left");
      CHECK(row.at("threshold") == threshold);
      CHECK(row.at("verdict") ==
            (row.at("probability").get<double>() >= threshold ? "left" : "right"));
    }
  };
  verdicts({}, chosen.at("threshold"));
  verdicts({"--threshold", "0.25"}, 0.25);

  // As older programs wrote it: without threshold and temperature, the positive class not named.
  thorax::Checkpoint old = thorax::load_checkpoint(model);
  nlohmann::json before = input;
  before.erase("positive");
  old.texts["thorax.input"] = before.dump();
  old.texts.erase("thorax.threshold");
  old.texts.erase("thorax.temperature");
  thorax::save_checkpoint(f.folder / "old.safetensors", old);
  const std::string said =
      run({"predict", f.folder / "ph/CXR_png", "--classifier", f.folder / "old.safetensors"});
  CHECK(has(said, "was written before checkpoints named the positive class"));
  CHECK(has(said, "right, left: left"));
  CHECK(has(said, "verdict left from P = 0.5 (the checkpoint has no threshold of its own)"));
}

TEST_CASE(
    "a network that cannot do the task is named with those that can; one split has no folds") {
  const Folders f("normal", "sick");
  CHECK(has(run({"train", "segmenter", "--model", "resnet18", "--data", "folder:x", "--out",
                 f.folder / "s"},
                1),
            "[segmenter] --model resnet18: is a classifier; a segmenter is one of: unet"));
  CHECK(has(
      run({"train", "classifier", "--model", "unet", "--data", "folder:x", "--out", f.folder / "s"},
          1),
      "[classifier] --model unet: is a segmenter; a classifier is one of: hrnet_w18"));
  // One sick patient.
  bool first = true;
  for (const auto& entry : fs::directory_iterator(f.folder.path() / "d/sick"))
    if (!std::exchange(first, false)) fs::remove(entry.path());
  const std::string refused = run(f.with({"train", "classifier", "--out", f.folder / "run"}), 1);
  CHECK(has(refused, "class 'sick' has 1 of the "));
  CHECK_FALSE(has(refused, "fewer folds"));
  CHECK(has(run(f.with({"kfold", "classifier", "--folds", "2", "--out", f.folder / "k"}), 1),
            "class 'sick' has 1 patients, fewer than the 2 folds"));
}

TEST_CASE("three class folders: train, predict, explain and kfold tell them apart") {
  const Folders f("normal", "sick");
  // A third class from the negative ones: what is tested is what happens around the network.
  fs::create_directories(f.folder.path() / "d/other");
  int moved = 0;
  std::vector<fs::path> normal;
  for (const auto& entry : fs::directory_iterator(f.folder.path() / "d/normal"))
    normal.push_back(entry.path());
  REQUIRE(normal.size() >= 6);
  for (const fs::path& path : normal)
    if (moved++ % 2 == 0) fs::rename(path, f.folder.path() / "d/other" / path.filename());

  const std::string trained =
      run(f.with({"train", "classifier", "--out", f.folder / "t", "--validation-share", "0.4"}));
  CHECK(has(trained, "Each class against the rest"));
  CHECK(has(trained, "macro AUC"));
  const std::string model = f.folder / "t/last.safetensors";
  const auto metadata = thorax::read_safetensors_header(model).metadata;
  const auto input = nlohmann::json::parse(metadata.at("thorax.input"));
  CHECK(input.at("classes") == nlohmann::json({"normal", "other", "sick"}));
  CHECK_FALSE(input.contains("positive"));
  CHECK_FALSE(metadata.contains("thorax.threshold"));
  CHECK(nlohmann::json::parse(file_text(f.folder / "t/config.json"))
            .at("settings")
            .at("model")
            .at("outputs") == 3);

  const std::string text = run({"predict", f.folder / "ph/CXR_png", "--classifier", model});
  for (const char* name :
       {"P(normal)", "P(other)", "P(sick)", "the class of the largest probability"})
    CHECK(has(text, name));
  for (const auto& row : nlohmann::json::parse(
           run({"predict", f.folder / "ph/CXR_png", "--classifier", model, "--json"}))) {
    double sum = 0, most = 0;
    std::string verdict;
    for (const auto& [name, p] : row.at("probabilities").items()) {
      sum += p.get<double>();
      if (p.get<double>() > most) verdict = name;
      most = std::max(most, p.get<double>());
    }
    CHECK(sum == doctest::Approx(1));
    CHECK(row.at("verdict") == verdict);
    CHECK(row.at("probability") == most);
  }
  // Without a segmenter --out has the results.
  run({"predict", f.folder / "ph/CXR_png", "--classifier", model, "--out", f.folder / "seen"});
  CHECK(nlohmann::json::parse(file_text(f.folder / "seen/predictions.json")) ==
        nlohmann::json::parse(
            run({"predict", f.folder / "ph/CXR_png", "--classifier", model, "--json"})));
  CHECK(
      has(run({"predict", f.folder / "ph/CXR_png", "--classifier", model, "--threshold", "0.5"}, 1),
          "tells 3 classes apart (normal, other, sick), a threshold is for two"));
  const Arguments explain{"explain",       "--data", "folder:" + (f.folder / "d"),
                          "--classifier",  model,    "--out",
                          f.folder / "why"};
  CHECK(has(run(explain + Arguments{"--class", "sick"}), "for the class sick"));
  const auto heat = thorax::CsvTable::read(f.folder / "why/heatmaps.csv");
  for (std::int64_t r = 0; r < heat.rows(); ++r)
    CHECK(heat.at(r, heat.column("explained")) == "sick");
  CHECK(has(run(explain + Arguments{"--class", "positive"}, 1),
            "there are: predicted, normal, other, sick"));

  const std::string folds = run(
      f.with({"kfold", "classifier", "--folds", "2", "--heatmaps", "2", "--out", f.folder / "k"}));
  CHECK(has(folds, "macro AUC"));
  const auto summary = nlohmann::json::parse(file_text(f.folder / "k/crossval/summary.json"));
  CHECK(summary.at("classes") == nlohmann::json({"normal", "other", "sick"}));
  CHECK(summary.at("image_count") ==
        normal.size() + summary.at("all").at("classes")[2].at("images").get<std::size_t>());
  // What the report says is what the predictions of the folds say.
  int right = 0, all = 0;
  std::set<std::string> ids;
  for (const char* fold : {"k/fold_0/predictions.csv", "k/fold_1/predictions.csv"}) {
    const auto p = thorax::CsvTable::read(f.folder / fold);
    for (std::int64_t r = 0; r < p.rows(); ++r) {
      std::vector<double> values;
      ids.insert(p.at(r, p.column("image")));
      for (const char* name : {"P(normal)", "P(other)", "P(sick)"})
        values.push_back(std::stod(p.at(r, p.column(name))));
      const auto most = std::max_element(values.begin(), values.end()) - values.begin();
      right += std::to_string(most) == p.at(r, p.column("label"));
      ++all;
    }
  }
  for (std::int64_t r = 0; r < heat.rows(); ++r)
    CHECK(ids.contains(heat.at(r, heat.column("id"))));  // the images of predictions.csv
  CHECK(summary.at("all").at("accuracy").get<double>() == doctest::Approx(double(right) / all));
  CHECK(has(file_text(f.folder / "k/report.html"), "classes: normal, other, sick"));
  // Finished folds are read back, not trained again.
  CHECK(has(run(f.with({"kfold", "classifier", "--folds", "2", "--heatmaps", "0", "--resume",
                        "--out", f.folder / "k"})),
            "macro AUC"));
  // Calibration and the checklist; names as people read them.
  const auto calibration = thorax::CsvTable::read(f.folder / "k/crossval/calibration.csv");
  CHECK(calibration.rows() == 5);
  CHECK(std::stod(calibration.at(0, 1)) ==
        doctest::Approx(summary.at("calibration").at("top_label_expected_error").get<double>()));
  const auto claim = thorax::CsvTable::read(f.folder / "k/crossval/claim.csv");
  CHECK(claim.rows() == 44);
  CHECK(has(claim.at(36, 3), "macro AUC"));
  CHECK(has(claim.at(37, 3), "normal: sensitivity"));
  CHECK(has(claim.at(38, 3), fmt::format("{} of {} images wrong", all - right, all)));
  CHECK(thorax::CsvTable::read(f.folder / "k/crossval/pooled.csv").at(1, 0) == "balanced accuracy");
  CHECK_FALSE(has(file_text(f.folder / "k/report.html"), "macro_auc"));
  CHECK_FALSE(has(folds, "starting anew"));
}

namespace {

// An epoch of one step, which sees all images at once.
Arguments one_step(const Folders& f, const std::string& name) {
  return {"train",     "classifier",
          "--config",  f.folder / "narrow.json",
          "--data",    "folder:" + (f.folder / "d"),
          "--size",    "48",
          "--epochs",  "1",
          "--batch",   "64",
          "--augment", "none",
          "--out",     f.folder / name};
}

// The mean loss of the first step of a network as initialised.
double first_loss(const Folders& f, const std::string& name, const Arguments& more) {
  run(one_step(f, name) + more);
  std::ifstream log(f.folder / (name + "/metrics.jsonl"));
  for (std::string line; std::getline(log, line);)
    if (const auto json = nlohmann::json::parse(line); json.contains("train_loss"))
      return json.at("train_loss");
  FAIL("no train_loss in ", name);
  return 0;
}

void check_losses(const Folders& f, const std::vector<std::string>& classes) {
  const double plain = first_loss(f, "plain", {});
  const auto config = nlohmann::json::parse(file_text(f.folder / "plain/config.json"));
  for (const char* key : {"class_weights", "label_smoothing", "sampling"})
    CHECK_FALSE(config.at("settings").contains(key));
  // The loss is linear in the weights and in the smoothing.
  std::map<std::string, int> images;
  std::map<std::string, double> share;
  int all = 0;
  double doubled = 0;
  const auto manifest = thorax::CsvTable::read(f.folder / "plain/manifest.csv");
  std::map<std::string, std::string> class_of;
  for (std::int64_t r = 0; r < manifest.rows(); ++r)
    class_of[fs::path(manifest.at(r, manifest.column("path"))).filename()] =
        manifest.at(r, manifest.column("label"));
  const auto splits = nlohmann::json::parse(file_text(f.folder / "plain/splits.json"));
  for (const auto& id : splits.at("folds")[0].at("train")) {
    ++images[class_of.at(fs::path(id.get<std::string>()).filename())];
    ++all;
  }
  for (const std::string& name : classes) {
    const double loss = first_loss(f, "w-" + name, {"--class-weights", name + "=2"});
    share[name] = loss - plain;  // what the class has of the loss
    doubled += share[name];
  }
  CHECK(doubled == doctest::Approx(plain).epsilon(1e-4));
  double balanced = 0;
  for (const std::string& name : classes)
    balanced += share[name] * all / (static_cast<double>(classes.size()) * images.at(name));
  CHECK(first_loss(f, "balanced", {"--class-weights", "balanced"}) ==
        doctest::Approx(balanced).epsilon(1e-3));
  const double one = first_loss(f, "s1", {"--label-smoothing", "0.1"}),
               two = first_loss(f, "s2", {"--label-smoothing", "0.2"});
  CHECK(one != plain);
  CHECK(two - plain == doctest::Approx(2 * (one - plain)).epsilon(1e-2));
}

}  // namespace

TEST_CASE("class weights and label smoothing: the loss of two classes and of three") {
  const Folders f("normal", "sick");
  // Half of the sick ones go, so that sizes differ.
  int at = 0;
  for (const auto& entry : fs::directory_iterator(f.folder.path() / "d/sick"))
    if (at++ % 2 == 0) fs::remove(entry.path());
  check_losses(f, {"normal", "sick"});
  for (const char* name : {"plain", "w-normal", "w-sick", "balanced", "s1", "s2"})
    fs::remove_all(f.folder.path() / name);
  fs::create_directories(f.folder.path() / "d/other");
  std::vector<fs::path> normal;
  for (const auto& entry : fs::directory_iterator(f.folder.path() / "d/normal"))
    normal.push_back(entry.path());
  for (std::size_t i = 0; i < 5; ++i)
    fs::rename(normal[i], f.folder.path() / "d/other" / normal[i].filename());
  check_losses(f, {"normal", "other", "sick"});

  const auto refused = [&](const Arguments& more) {
    const std::string text =
        run(f.with({"train", "classifier", "--out", f.folder / "refused"}) + more, 1);
    CHECK_FALSE(fs::exists(f.folder / "refused"));
    return text;
  };
  CHECK(has(refused({"--class-weights", "sick=2,well=3"}),
            "the data has no class 'well'; its classes: normal, other, sick"));
  CHECK(has(refused({"--class-weights", "sick"}), "'sick' is not NAME=W with a weight above 0"));
  CHECK(has(refused({"--class-weights", "sick=0"}), "'sick=0' is not NAME=W"));
  CHECK(has(refused({"--class-weights", "sick=1,Sick=2"}), "'Sick' is there twice"));
  CHECK(has(refused({"--class-weights", "balanced", "--sampling", "balanced"}),
            "makes up for the sizes of the classes twice"));
  std::ofstream(f.folder / "wrong.json") << R"({"label_smoothing": 0.9})";
  CHECK(has(run({"train", "classifier", "--config", f.folder / "wrong.json", "--data",
                 "folder:" + (f.folder / "d"), "--out", f.folder / "refused"},
                1),
            "label_smoothing"));
  // Balanced batches: other draws, the same ones for the same seed.
  const Arguments balanced{"--sampling", "balanced", "--label-smoothing", "0.1"};
  const double loss = first_loss(f, "b1", balanced);
  CHECK(loss == first_loss(f, "b2", balanced));
  const auto config = nlohmann::json::parse(file_text(f.folder / "b1/config.json"));
  CHECK(config.at("settings").at("sampling") == "balanced");
  CHECK(config.at("settings").at("label_smoothing") == 0.1);
  CHECK(has(run(one_step(f, "b1") + Arguments{"--resume"}, 1), "was started with other settings"));
}
