// --tta flip of kfold: held-out images are judged together with their mirror images.
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "tests/apps/commands.h"

using namespace thorax;
using namespace thorax::test;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// P of each image of a fold, by file name.
std::map<std::string, double> held_out(const fs::path& fold, const std::string& column) {
  const CsvTable table = CsvTable::read(fold / "predictions.csv");
  std::map<std::string, double> result;
  for (std::int64_t r = 0; r < table.rows(); ++r)
    result[fs::path(table.at(r, table.column("image"))).filename()] =
        std::stod(table.at(r, table.column(column)));
  return result;
}

}  // namespace

TEST_CASE("kfold --tta flip: probabilities are predict's, thresholds are theirs, runs remember") {
  const TemporaryFolder t;
  run({"data", "phantoms", "--out", t / "ph", "--patients", "12", "--max-images", "1", "--size",
       "48", "--seed", "3"});
  const CsvTable all = CsvTable::read(t / "ph/manifest.csv");
  {
    std::ofstream csv(t / "ph/findings.csv");
    csv << "path,patient,label:opacity,label:mass\n";
    for (std::int64_t r = 0; r < all.rows(); ++r)
      csv << all.at(r, all.column("path")) << "," << all.at(r, all.column("patient")) << ","
          << (all.at(r, all.column("label")) == "COVID-19") << "," << (r % 3 == 0) << "\n";
  }
  std::ofstream(t / "narrow.json") << R"({"model": {"model": "resnet18", "in_channels": 1,
    "head": "study", "hidden": [8], "outputs": 1, "stem": 4, "width": 4}})";
  const auto fold = [&](const std::string& data, const std::string& out) {
    return Arguments{"kfold",    "classifier", "--config",   t / "narrow.json",
                     "--data",   data,         "--size",     "32",
                     "--epochs", "2",          "--lr",       "0.01",
                     "--batch",  "4",          "--augment",  "none",
                     "--folds",  "2",          "--heatmaps", "0",
                     "--out",    t / out};
  };
  const Arguments flip{"--tta", "flip"};
  for (const std::string kind : {"two", "findings"}) {
    INFO(kind);
    const bool two = kind == "two";
    const std::string data = "manifest:" + (t / (two ? "ph/manifest.csv" : "ph/findings.csv"));
    const std::string column = two ? "probability" : "P(mass)";
    run(fold(data, kind));
    run(fold(data, kind + "-flip") + flip);
    const fs::path plain = t.path() / kind, flipped = t.path() / (kind + "-flip");
    // The same networks, trained and measured alike.
    const auto before = held_out(plain / "fold_0", column),
               after = held_out(flipped / "fold_0", column);
    CHECK(before != after);
    const std::string model = flipped / "fold_0/last.safetensors";
    std::string predicted = run({"predict", t / "ph/CXR_png", "--classifier", model, "--tta",
                                 "flip", "--temperature", "off", "--json"});
    predicted.erase(0, predicted.find('['));
    std::size_t seen = 0;
    for (const json& row : json::parse(predicted.substr(0, predicted.rfind(']') + 1))) {
      const auto found = after.find(fs::path(row.at("image").get<std::string>()).filename());
      if (found == after.end()) continue;
      ++seen;
      const double p = two ? row.at("probability").get<double>()
                           : row.at("findings").at(1).at("probability").get<double>();
      CHECK(p == doctest::Approx(found->second).epsilon(1e-5));
    }
    CHECK(seen == after.size());
    // Losses are of the image alone; epochs are judged as the end is.
    const auto last_line = [](const fs::path& run_folder) {
      std::ifstream log(run_folder / "fold_0/metrics.jsonl");
      std::string line, last;
      while (std::getline(log, line))
        if (!line.empty()) last = line;
      return json::parse(last);
    };
    CHECK(last_line(plain).at("loss") == last_line(flipped).at("loss"));
    CHECK(last_line(plain).at("train_loss") == last_line(flipped).at("train_loss"));
    // What was asked for is known of the run, its report and its networks.
    CHECK_FALSE(json::parse(file_text(plain / "config.json")).at("settings").contains("tta"));
    CHECK(json::parse(file_text(flipped / "config.json")).at("settings").at("tta") == "flip");
    CHECK_FALSE(has(file_text(plain / "report.html"), "--tta flip"));
    CHECK(has(file_text(flipped / "report.html"), "mean over an image and its mirror image"));
    CHECK(has(run({"predict", t / "ph/CXR_png", "--classifier", model}),
              "was of images and their mirror images (--tta flip)"));
    CHECK(has(run(fold(data, kind + "-flip") + Arguments{"--resume"}, 1),
              "was started with other settings"));
    const std::string report = file_text(flipped / "report.html");
    run(fold(data, kind + "-flip") + flip + Arguments{"--resume"});
    CHECK(file_text(flipped / "report.html") == report);
  }
  CHECK(has(run(fold("manifest:" + (t / "ph/manifest.csv"), "x") + Arguments{"--tta", "shift"}, 2),
            "--tta"));
}
