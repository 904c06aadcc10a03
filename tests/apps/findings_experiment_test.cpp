// Comparison and audit of several findings an image, through the command.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "data/csv.h"
#include "tests/apps/commands.h"

using namespace thorax;
using namespace thorax::test;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const std::vector<std::string> kFindings{"opacity", "effusion", "mass"};

// Phantoms of 18 patients with up to two images and three findings, some not known: one that is
// drawn, one of patients, one that differs between images of a patient; a segmenter of sorts.
struct Data {
  TemporaryFolder folder;
  Data() {
    run({"data", "phantoms", "--out", folder / "phantoms", "--patients", "18", "--max-images", "2",
         "--size", "48", "--seed", "6"});
    run({"train", "segmenter", "--data", "shenzhen:" + (folder / "phantoms"), "--size", "32",
         "--width", "4", "--epochs", "4", "--lr", "0.03", "--batch", "2", "--out",
         folder / "lungs"});
    std::ofstream(folder / "narrow.json") << R"({"model": {"model": "resnet18", "in_channels": 1,
      "head": "study", "hidden": [8], "outputs": 1, "stem": 4, "width": 4}})";
    const CsvTable before = CsvTable::read(folder / "phantoms/manifest.csv");
    std::ofstream after(folder / "phantoms/findings.csv");
    after << "path,patient,mask";
    for (const std::string& name : kFindings) after << ",label:" << name;
    after << "\n";
    std::map<std::string, std::size_t> patients;
    for (std::int64_t r = 0; r < before.rows(); ++r) {
      const std::string patient = before.at(r, before.column("patient"));
      const std::size_t number = patients.emplace(patient, patients.size()).first->second;
      const bool ill = before.at(r, before.column("label")) == "COVID-19";
      after << before.at(r, before.column("path")) << "," << patient << ","
            << before.at(r, before.column("mask")) << ","
            << (r % 9 == 8 ? ""
                : ill      ? "1"
                           : "0")
            << "," << (number % 3 == 0 ? "1" : "0") << ","
            << (r % 7 == 6   ? "-1"
                : r % 2 == 0 ? "1"
                             : "0")
            << "\n";
    }
  }
  std::string source() const { return "manifest:" + (folder / "phantoms/findings.csv"); }
  Arguments common() const {
    return {"--config",    folder / "narrow.json",
            "--data",      source(),
            "--segmenter", folder / "lungs/last.safetensors",
            "--min-area",  "0",
            "--size",      "48",
            "--epochs",    "2",
            "--lr",        "0.01",
            "--batch",     "4",
            "--folds",     "2"};
  }
};

const Data& data() {
  static const Data made;
  return made;
}

// A finding's known images in predictions.csv of both folds, and figures of them by definition.
struct Known {
  std::vector<int> labels;
  std::vector<double> scores;
  std::vector<std::string> images, patients;

  double auc() const {
    double wins = 0, pairs = 0;
    for (std::size_t i = 0; i < labels.size(); ++i)
      for (std::size_t j = 0; j < labels.size(); ++j) {
        if (labels[i] != 1 || labels[j] != 0) continue;
        wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
        ++pairs;
      }
    return wins / pairs;
  }
  double average_precision() const {
    std::vector<double> thresholds = scores;
    std::sort(thresholds.rbegin(), thresholds.rend());
    thresholds.erase(std::unique(thresholds.begin(), thresholds.end()), thresholds.end());
    const double all = std::accumulate(labels.begin(), labels.end(), 0.0);
    double sum = 0, before = 0;
    for (const double t : thresholds) {
      double hits = 0, called = 0;
      for (std::size_t i = 0; i < labels.size(); ++i)
        if (scores[i] >= t) {
          ++called;
          hits += labels[i];
        }
      sum += hits / called * (hits - before) / all;
      before = hits;
    }
    return sum;
  }
  std::int64_t count(int label, bool called) const {
    std::int64_t n = 0;
    for (std::size_t i = 0; i < labels.size(); ++i)
      n += labels[i] == label && (scores[i] >= 0.5) == called;
    return n;
  }
  double f1() const {
    const auto tp = static_cast<double>(count(1, true));
    return 2 * tp /
           (2 * tp + static_cast<double>(count(1, false)) + static_cast<double>(count(0, true)));
  }
};

Known known(const fs::path& row, const std::string& finding) {
  Known k;
  for (const char* fold : {"fold_0", "fold_1"}) {
    const CsvTable p = CsvTable::read(row / fold / "predictions.csv");
    for (std::int64_t r = 0; r < p.rows(); ++r) {
      const std::string& label = p.at(r, p.column("label(" + finding + ")"));
      if (label.empty()) continue;
      k.labels.push_back(std::stoi(label));
      k.scores.push_back(std::stod(p.at(r, p.column("P(" + finding + ")"))));
      k.images.push_back(p.at(r, p.column("image")));
      k.patients.push_back(p.at(r, p.column("patient")));
    }
  }
  return k;
}

template <class Figure>
double macro(const fs::path& row, Figure figure) {
  double sum = 0;
  for (const std::string& name : kFindings) sum += (known(row, name).*figure)();
  return sum / static_cast<double>(kFindings.size());
}

double number(const CsvTable& table, std::int64_t row, const std::string& column) {
  return std::stod(table.at(row, table.column(column)));
}

}  // namespace

TEST_CASE("compare of several findings: each and the macro mean, as predictions.csv has them") {
  const TemporaryFolder t;
  const Arguments what = Arguments{"compare",    "--models", "resnet18", "--views", "whole,lungs",
                                   "--heatmaps", "2",        "--out",    t / "c"} +
                         data().common();
  CHECK(has(run(what + Arguments{"--only", "resnet18-lungs/1"}), "resnet18-whole: folds 0, 1"));
  const std::string output = run(what + Arguments{"--resume"});
  CHECK(has(output, "macro AUC"));
  CHECK(has(output, "Paired tests of each finding"));
  const fs::path out = t.path() / "c/comparison";
  const json summary = json::parse(file_text(out / "summary.json"));
  CHECK(summary.at("resnet18-whole").at("findings") == json(kFindings));
  const CsvTable table = CsvTable::read(out / "table7.csv");
  REQUIRE(table.rows() == 2);
  const CsvTable auc = CsvTable::read(out / "auc.csv"),
                 precision = CsvTable::read(out / "average_precision.csv"),
                 f1 = CsvTable::read(out / "f1.csv"),
                 decisions = CsvTable::read(out / "decisions.csv");
  REQUIRE(auc.rows() == 4);
  CHECK(auc.at(3, 0) == "macro");
  for (std::int64_t r = 0; r < 2; ++r) {
    const std::string name = table.at(r, 0) + "-" + table.at(r, 1);
    const fs::path row = t.path() / "c/rows" / name;
    CHECK(number(table, r, "macro AUC") == doctest::Approx(macro(row, &Known::auc)));
    CHECK(number(table, r, "macro average precision") ==
          doctest::Approx(macro(row, &Known::average_precision)));
    CHECK(number(table, r, "macro F1") == doctest::Approx(macro(row, &Known::f1)));
    for (std::int64_t f = 0; f < 3; ++f) {
      const std::string& finding = kFindings[static_cast<std::size_t>(f)];
      const Known k = known(row, finding);
      CHECK(auc.at(f, 0) == finding);
      CHECK(number(auc, f, "positive") == k.count(1, true) + k.count(1, false));
      CHECK(number(auc, f, "negative") == k.count(0, true) + k.count(0, false));
      CHECK(number(auc, f, name) == doctest::Approx(k.auc()));
      CHECK(number(auc, f, name + " low") <= k.auc());
      CHECK(number(auc, f, name + " high") >= k.auc());
      CHECK(number(precision, f, name) == doctest::Approx(k.average_precision()));
      CHECK(number(f1, f, name) == doctest::Approx(k.f1()));
      const std::int64_t at = 3 * r + f;
      CHECK(decisions.at(at, 2) == finding);
      CHECK(number(decisions, at, "true positive") == k.count(1, true));
      CHECK(number(decisions, at, "false negative") == k.count(1, false));
      CHECK(number(decisions, at, "false positive") == k.count(0, true));
      CHECK(number(decisions, at, "true negative") == k.count(0, false));
    }
  }
  // Differences are those of the areas above; McNemar's test has patients of one label only.
  const CsvTable tests = CsvTable::read(out / "tests.csv");
  REQUIRE(tests.rows() == 4);
  for (std::int64_t f = 0; f < 3; ++f) {
    const std::string& finding = kFindings[static_cast<std::size_t>(f)];
    const Known a = known(t.path() / "c/rows/resnet18-whole", finding),
                b = known(t.path() / "c/rows/resnet18-lungs", finding);
    CHECK(tests.at(f, tests.column("finding")) == finding);
    CHECK(number(tests, f, "images") == static_cast<double>(a.labels.size()));
    CHECK(number(tests, f, "AUC difference") == doctest::Approx(a.auc() - b.auc()));
    REQUIRE(a.images == b.images);
    CHECK(a.scores != b.scores);
    struct Patient {
      std::vector<int> labels;
      double first = 0, second = 0;
    };
    std::map<std::string, Patient> patients;
    for (std::size_t i = 0; i < a.labels.size(); ++i) {
      Patient& p = patients[a.patients[i]];
      p.labels.push_back(a.labels[i]);
      p.first += a.scores[i];
      p.second += b.scores[i];
    }
    int tested = 0, only_first = 0, only_second = 0;
    for (const auto& [name, p] : patients) {
      const auto images = static_cast<double>(p.labels.size());
      if (*std::min_element(p.labels.begin(), p.labels.end()) !=
          *std::max_element(p.labels.begin(), p.labels.end()))
        continue;
      ++tested;
      const bool x = (p.first / images >= 0.5) == (p.labels[0] == 1);
      const bool y = (p.second / images >= 0.5) == (p.labels[0] == 1);
      only_first += x && !y;
      only_second += y && !x;
    }
    CHECK(number(tests, f, "patients") == tested);
    CHECK(number(tests, f, "only first right") == only_first);
    CHECK(number(tests, f, "only second right") == only_second);
    if (finding == "mass") CHECK(tested < 18);
  }
  CHECK(tests.at(3, tests.column("finding")) == "macro");
  CHECK(number(tests, 3, "AUC difference") ==
        doctest::Approx(macro(t.path() / "c/rows/resnet18-whole", &Known::auc) -
                        macro(t.path() / "c/rows/resnet18-lungs", &Known::auc)));
  CHECK(tests.at(3, tests.column("McNemar p")).empty());
  CHECK(has(file_text(out / "tests.txt"), "Patients with positive and with negative images"));

  CHECK(CsvTable::read(out / "folds-resnet18-lungs.csv").rows() == 5);
  for (const char* name : {"roc-whole-0.svg", "roc-lungs-2.svg", "comparison.svg"})
    CHECK(fs::file_size(out / name) > 0);
  const std::string page = file_text(t.path() / "c/report.html");
  CHECK(has(page, "findings, of which an image may have several: opacity, effusion, mass"));
  CHECK(has(page, "There is no confusion matrix of all findings"));

  // Nothing is left to be done: the same files once more.
  const std::string before = file_text(out / "tests.csv");
  run(what + Arguments{"--resume"});
  CHECK(file_text(out / "tests.csv") == before);
  CHECK(json::parse(file_text(out / "summary.json")) == summary);
  CHECK(file_text(t.path() / "c/report.html") == page);
}

TEST_CASE("audit of several findings: every control by finding and macro, a verdict for each") {
  const TemporaryFolder t;
  // External images that know one of the findings and one that nobody else does.
  const CsvTable own = CsvTable::read(data().folder / "phantoms/findings.csv");
  {
    std::ofstream csv(data().folder / "phantoms/elsewhere.csv");
    csv << "path,patient,label:effusion,label:nodule\n";
    for (std::int64_t r = 0; r < own.rows(); ++r)
      csv << own.at(r, 0) << "," << own.at(r, 1) << "," << own.at(r, own.column("label:effusion"))
          << "," << r % 2 << "\n";
  }
  const Arguments what = Arguments{"audit",
                                   "--model",
                                   "resnet18",
                                   "--heatmaps",
                                   "3",
                                   "--external",
                                   "manifest:" + (data().folder / "phantoms/elsewhere.csv"),
                                   "--out",
                                   t / "a"} +
                         data().common();
  const std::string output = run(what);
  for (const char* text :
       {": macro AUC ", "Verdict: ", "findings that the networks do not know are left out: nodule",
        "macro figures are of effusion only", "\nopacity: ", "\nmass: "})
    CHECK(has(output, text));
  const fs::path out = t.path() / "a/audit", rows = t.path() / "a/rows";
  const CsvTable controls = CsvTable::read(out / "controls.csv"),
                 by_finding = CsvTable::read(out / "controls_by_finding.csv"),
                 verdicts = CsvTable::read(out / "verdicts_by_finding.csv");
  REQUIRE(controls.rows() == 10);  // 8 rows, image statistics, external images
  REQUIRE(by_finding.rows() == 10);
  const std::vector<std::string> trained{
      "lungs",  "whole",         "no-lungs",     "no-lungs-filled",
      "border", "random-labels", "patient-leak", "random-labels-leak"};
  for (std::size_t i = 0; i < trained.size(); ++i) {
    INFO(trained[i]);
    const auto r = static_cast<std::int64_t>(i);
    CHECK(number(controls, r, "macro AUC") ==
          doctest::Approx(macro(rows / trained[i], &Known::auc)));
    CHECK(number(controls, r, "macro average precision") ==
          doctest::Approx(macro(rows / trained[i], &Known::average_precision)));
    for (const std::string& name : kFindings)
      CHECK(number(by_finding, r, "of " + name) ==
            doctest::Approx(known(rows / trained[i], name).auc()));
  }
  // Of external images what they tell, beside the headline's of the same.
  const json summary = json::parse(file_text(out / "summary.json"));
  CHECK(summary.at("headline").at("findings") == json(kFindings));
  CHECK(summary.at("External images").at("findings") == json({"effusion"}));
  CHECK(summary.at("External images").at("image_count") == own.rows());
  CHECK(by_finding.at(9, by_finding.column("of opacity")).empty());
  CHECK(number(by_finding, 9, "of effusion") == number(controls, 9, "macro AUC"));
  const double headline = known(rows / "lungs", "effusion").auc();
  if (headline > 0.5)
    CHECK(number(controls, 9, "share of the headline above chance") ==
          doctest::Approx(
              std::max(0.0, (number(controls, 9, "macro AUC") - 0.5) / (headline - 0.5))));
  CHECK(summary.at("Image statistics only").at("all").at("macro").at("auc").is_number());

  // Calibration of the headline by definition; macro is the mean.
  const CsvTable calibration = CsvTable::read(out / "calibration.csv");
  REQUIRE(calibration.rows() == 4);
  double brier_sum = 0;
  for (std::int64_t f = 0; f < 3; ++f) {
    const Known k = known(rows / "lungs", kFindings[static_cast<std::size_t>(f)]);
    const auto n = static_cast<double>(k.labels.size());
    double brier = 0, loss = 0, error = 0;
    for (int bin = 0; bin < 10; ++bin) {
      double predicted = 0, observed = 0;
      for (std::size_t i = 0; i < k.labels.size(); ++i)
        if (std::max(0.0, std::ceil(k.scores[i] * 10) - 1) == bin) {
          predicted += k.scores[i];
          observed += k.labels[i];
        }
      error += std::abs(predicted - observed) / n;
    }
    for (std::size_t i = 0; i < k.labels.size(); ++i) {
      brier += std::pow(k.scores[i] - k.labels[i], 2) / n;
      loss -= std::log(k.labels[i] == 1 ? k.scores[i] : 1 - k.scores[i]) / n;
    }
    CHECK(number(calibration, f, "expected calibration error") == doctest::Approx(error));
    CHECK(number(calibration, f, "Brier score") == doctest::Approx(brier));
    CHECK(number(calibration, f, "log loss") == doctest::Approx(loss));
    CHECK(summary.at("headline").at("calibration").at(static_cast<std::size_t>(f)).at("brier") ==
          number(calibration, f, "Brier score"));
    brier_sum += brier;
  }
  CHECK(number(calibration, 3, "Brier score") == doctest::Approx(brier_sum / 3));

  // The findings of whole patients are dealt anew, every set of them as often as before.
  const auto dealt = [&](const char* row) {
    std::map<std::string, std::string> of_patient;
    for (const char* fold : {"fold_0", "fold_1"}) {
      const CsvTable p = CsvTable::read(rows / row / fold / "predictions.csv");
      for (std::int64_t r = 0; r < p.rows(); ++r) {
        std::string& all = of_patient[p.at(r, p.column("patient"))];
        all.resize(kFindings.size(), '?');
        for (std::size_t f = 0; f < kFindings.size(); ++f) {
          const std::string& label = p.at(r, p.column("label(" + kFindings[f] + ")"));
          if (!label.empty() && (all[f] == '?' || label == "1")) all[f] = label[0];
        }
      }
    }
    return of_patient;
  };
  const auto truth = dealt("lungs"), random = dealt("random-labels");
  CHECK(truth != random);
  std::map<std::string, int> sets;
  for (const auto& [patient, all] : truth) ++sets[all];
  for (const auto& [patient, all] : random) --sets[all];
  for (const auto& [all, difference] : sets) CHECK(difference == 0);

  REQUIRE(verdicts.rows() == 3);
  for (std::int64_t f = 0; f < 3; ++f) {
    const std::string& name = kFindings[static_cast<std::size_t>(f)];
    CHECK(verdicts.at(f, 0) == name);
    double best = 0;
    for (const std::int64_t r : {2, 3, 4, 8})  // what cannot show a finding
      best = std::max(best, number(by_finding, r, "of " + name));
    CHECK(number(verdicts, f, "its AUC") == best);
    CHECK(number(verdicts, f, "AUC of the headline") == number(by_finding, 0, "of " + name));
    CHECK_FALSE(verdicts.at(f, verdicts.column("verdict")).empty());
  }
  for (const char* name : {"roc-0.svg", "roc-2.svg"}) CHECK(fs::file_size(out / name) > 0);
  CHECK(CsvTable::read(out / "heatmaps.csv").rows() >= 3);
  CHECK_FALSE(fs::exists(out / "confusion.svg"));
  const std::string page = file_text(t.path() / "a/report.html");
  for (const char* text : {"There is no confusion matrix of all findings",
                           "There is no balanced accuracy of findings"})
    CHECK(has(page, text));
  const std::string claim = file_text(out / "claim.csv");
  for (const char* text : {"stratified by all findings", "macro AUC", "one logit for each finding",
                           "labels of findings are not known", "opacity: sensitivity"})
    CHECK(has(claim, text));
}
