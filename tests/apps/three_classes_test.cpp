// Comparison and audit of three classes, through the command.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "engine/stats/multiclass.h"
#include "tests/apps/commands.h"

using namespace thorax;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

// Phantoms of 18 patients, every third patient's in a class of its own; a segmenter of sorts.
struct Data {
  TemporaryFolder folder;
  Data() {
    run({"data", "phantoms", "--out", folder / "phantoms", "--patients", "18", "--max-images", "1",
         "--size", "48", "--seed", "6"});
    run({"train", "segmenter", "--data", "shenzhen:" + (folder / "phantoms"), "--size", "32",
         "--width", "4", "--epochs", "2", "--batch", "2", "--out", folder / "lungs"});
    std::ofstream(folder / "narrow.json") << R"({"model": {"model": "resnet18", "in_channels": 1,
      "head": "study", "hidden": [8], "outputs": 1, "stem": 4, "width": 4}})";
    const CsvTable before = CsvTable::read(folder / "phantoms/manifest.csv");
    std::ofstream after(folder / "phantoms/three.csv");
    after << "path,label,patient,mask\n";
    for (std::int64_t r = 0; r < before.rows(); ++r) {
      const std::string label = r % 3 == 0 ? "other" : before.at(r, before.column("label"));
      after << before.at(r, before.column("path")) << "," << label << ","
            << before.at(r, before.column("patient")) << "," << before.at(r, before.column("mask"))
            << "\n";
    }
  }
  Arguments common() const {
    return {"--config",    folder / "narrow.json",
            "--data",      "manifest:" + (folder / "phantoms/three.csv"),
            "--segmenter", folder / "lungs/last.safetensors",
            "--min-area",  "0",
            "--size",      "48",
            "--epochs",    "2",
            "--lr",        "0.01",  // enough for networks that differ
            "--batch",     "4",
            "--folds",     "2"};
  }
};

const Data& data() {
  static const Data made;
  return made;
}

// Labels and probabilities of a row's folds.
MulticlassReport report_of(const fs::path& row, const std::vector<std::string>& classes) {
  std::vector<int> labels;
  std::vector<std::vector<double>> probabilities;
  for (const char* fold : {"fold_0", "fold_1"}) {
    const CsvTable p = CsvTable::read(row / fold / "predictions.csv");
    for (std::int64_t r = 0; r < p.rows(); ++r) {
      labels.push_back(std::stoi(p.at(r, p.column("label"))));
      probabilities.emplace_back();
      for (const std::string& name : classes)
        probabilities.back().push_back(std::stod(p.at(r, p.column("P(" + name + ")"))));
    }
  }
  return multiclass_report(labels, probabilities, static_cast<int>(classes.size()));
}

}  // namespace

TEST_CASE("compare of three classes: tables, tests, curves and matrices of all of them") {
  const TemporaryFolder t;
  const std::string output = run(Arguments{"compare", "--models", "resnet18,resnet34", "--views",
                                           "whole", "--heatmaps", "2", "--out", t / "c"} +
                                 data().common());
  CHECK(output.find("macro AUC difference") != std::string::npos);
  const fs::path out = t.path() / "c/comparison";
  const auto summary = nlohmann::json::parse(file_text(out / "summary.json"));
  const std::vector<std::string> classes =
      summary.at("resnet18-whole").at("classes").get<std::vector<std::string>>();
  REQUIRE(classes.size() == 3);
  const CsvTable table = CsvTable::read(out / "table7.csv");
  REQUIRE(table.rows() == 2);
  for (std::int64_t r = 0; r < 2; ++r) {
    const MulticlassReport wanted =
        report_of(t.path() / "c/rows" / (table.at(r, 0) + "-whole"), classes);
    const auto value = [&](const char* column) {
      return std::stod(table.at(r, table.column(column)));
    };
    CHECK(value("accuracy") == doctest::Approx(wanted.accuracy));
    CHECK(value("balanced accuracy") == doctest::Approx(wanted.balanced_accuracy));
    CHECK(value("macro F1") == doctest::Approx(wanted.macro_f1));
    CHECK(value("macro AUC") == doctest::Approx(wanted.macro_auc));
  }
  const CsvTable tests = CsvTable::read(out / "tests.csv");
  REQUIRE(tests.rows() == 1);
  CHECK(tests.at(0, tests.column("patients")) == "18");
  // One image a patient: the difference of the rows' figures.
  const double difference = report_of(t.path() / "c/rows/resnet18-whole", classes).macro_auc -
                            report_of(t.path() / "c/rows/resnet34-whole", classes).macro_auc;
  REQUIRE(std::abs(difference) > 1e-3);
  CHECK(std::stod(tests.at(0, tests.column("macro AUC difference"))) ==
        doctest::Approx(difference));
  CHECK(CsvTable::read(out / "sensitivity.csv").rows() == 2);
  CHECK(CsvTable::read(out / "folds-resnet34-whole.csv").rows() == 5);
  for (const char* name : {"confusion-resnet18-whole.svg", "roc-whole-0.svg", "roc-whole-2.svg"})
    CHECK(fs::file_size(out / name) > 0);
  CHECK(file_text(t.path() / "c/report.html").find("classes: " + classes[0]) != std::string::npos);
}

TEST_CASE("audit of three classes: every control by macro AUC, by class, and a verdict in words") {
  const TemporaryFolder t;
  const std::string output =
      run(Arguments{"audit", "--model", "resnet18", "--heatmaps", "3", "--external",
                    "manifest:" + (data().folder / "phantoms/three.csv"), "--out", t / "a"} +
          data().common());
  CHECK(output.find(": macro AUC ") != std::string::npos);
  CHECK(output.find("Verdict: ") != std::string::npos);
  const fs::path out = t.path() / "a/audit";
  const CsvTable controls = CsvTable::read(out / "controls.csv");
  CHECK(controls.rows() == 10);  // 8 rows, image statistics, external images
  const auto summary = nlohmann::json::parse(file_text(out / "summary.json"));
  const auto classes = summary.at("headline").at("classes").get<std::vector<std::string>>();
  CHECK(std::stod(controls.at(0, controls.column("macro AUC"))) ==
        doctest::Approx(report_of(t.path() / "a/rows/lungs", classes).macro_auc));
  CHECK(summary.at("Image statistics only").at("all").at("macro_auc").is_number());
  CHECK(summary.at("External images").at("image_count") == 18);
  const CsvTable by_class = CsvTable::read(out / "controls_by_class.csv");
  CHECK(by_class.rows() == 10);
  CHECK(by_class.find_column("of other") > 0);
  // Labels are dealt anew, as many of each class.
  const auto labels = [&](const char* row) {
    std::map<std::string, std::string> of_image;
    for (const char* fold : {"fold_0", "fold_1"}) {
      const CsvTable p = CsvTable::read(t.path() / "a/rows" / row / fold / "predictions.csv");
      for (std::int64_t r = 0; r < p.rows(); ++r)
        of_image[p.at(r, p.column("image"))] = p.at(r, p.column("label"));
    }
    return of_image;
  };
  const auto truth = labels("lungs"), random = labels("random-labels");
  CHECK(truth != random);
  std::map<std::string, int> sizes;
  for (const auto& [image, label] : truth) ++sizes[label];
  for (const auto& [image, label] : random) --sizes[label];
  for (const auto& [label, difference] : sizes) CHECK(difference == 0);
  for (const char* name : {"roc-0.svg", "roc-2.svg", "confusion.svg"})
    CHECK(fs::file_size(out / name) > 0);
  CHECK(CsvTable::read(out / "heatmaps.csv").rows() >= 3);
}
