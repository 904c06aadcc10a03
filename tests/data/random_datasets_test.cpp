// Random data sets in two layouts, read by the readers and, beside them, by a model of the rules:
// the same images remain, and each of the others is counted under the rule that the model names.
#include <algorithm>
#include <map>
#include <set>

#include "data/csv.h"
#include "data/dataset.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

using Random = std::mt19937;

template <class T>
const T& one_of(Random& random, const std::vector<T>& from) {
  return from[random() % from.size()];
}
bool chance(Random& random, unsigned percent) {
  return random() % 100 < percent;
}

// What a model expects of a data set.
struct Expected {
  std::vector<std::string> kept;           // file names, in order
  std::map<std::string, int64_t> removed;  // by rule; none of 0
  std::map<std::string, std::string> patient;
};

void check(const Dataset& data, const Expected& expected, const std::string& source) {
  std::vector<std::string> kept;
  for (const Sample& sample : data.samples) {
    kept.push_back(sample.image.filename().string());
    REQUIRE(sample.patient == source + "/" + expected.patient.at(kept.back()));
  }
  REQUIRE(kept == expected.kept);
  std::map<std::string, int64_t> removed;
  for (const FilterRule& rule : data.report.rules) {
    REQUIRE(rule.removed == static_cast<int64_t>(rule.files.size()));
    if (rule.removed) removed[rule.name] += rule.removed;
  }
  REQUIRE(removed == expected.removed);
}

}  // namespace

TEST_CASE("random manifests: the reader keeps and counts what the model of its rules does") {
  Random random(31);
  int kept = 0, removed = 0;
  for (int round = 0; round < 60; ++round) {
    const TempFolder folder;
    std::vector<std::string> files;
    for (int i = 0; i < 8; ++i) {
      files.push_back("im " + std::to_string(i) + (chance(random, 50) ? ".png" : ",x.jpg"));
      if (chance(random, 80)) write_text(folder / files.back(), "");
      if (chance(random, 50)) write_text(folder / ("m" + std::to_string(i) + ".png"), "");
    }
    std::set<std::string> excluded;
    std::string exclude_list;
    std::map<std::string, std::string> label;  // an image has one
    for (const std::string& file : files) {
      label[file] = one_of<std::string>(random, {"a", "b"});
      if (!chance(random, 20)) continue;
      excluded.insert(file);
      exclude_list += file + "\n";
    }
    write_text(folder / "exclude.txt", exclude_list);
    const std::string mask_rule = one_of<std::string>(random, {"required", "optional", "none"});

    Expected expected;
    std::set<std::string> named;
    bool list_matches = false;
    std::string text = csv_line({"path", "label", "patient", "mask"});
    for (std::size_t row = 0, rows = random() % 14; row < rows; ++row) {
      const std::size_t i = random() % files.size();
      const std::string patient = chance(random, 80) ? "p" + std::to_string(random() % 5) : "";
      const std::string mask = "m" + std::to_string(i) + ".png";
      const bool masked = fs::exists(folder / mask) && chance(random, 70);
      text += csv_line({files[i], label[files[i]], patient, masked ? mask : ""});
      list_matches = list_matches || excluded.contains(files[i]);
      if (excluded.contains(files[i])) {
        ++expected.removed["not on the exclude list"];
      } else if (!named.insert(files[i]).second) {
        ++expected.removed["named once"];
      } else if (!fs::exists(folder / files[i])) {
        ++expected.removed["file present"];
      } else if (mask_rule == "required" && !masked) {
        ++expected.removed["lung mask present"];
      } else {
        expected.kept.push_back(files[i]);
        expected.patient[files[i]] = patient.empty() ? "file " + files[i] : patient;
      }
    }
    write_text(folder / "manifest.csv", text);
    const std::string all = "manifest:" + (folder / "manifest.csv").string() + ",mask=" + mask_rule;
    // A list that names no image at all is a mistake, and an error.
    const std::string spec =
        list_matches ? all + ",exclude=" + (folder / "exclude.txt").string() : all;
    if (!excluded.empty() && !list_matches)
      CHECK_ERROR(load_datasets({all + ",exclude=" + (folder / "exclude.txt").string()}),
                  "exclude");
    INFO("round ", round, ":\n", text);
    if (expected.kept.empty()) {
      CHECK_ERROR(load_datasets({spec}), "no image is left");
      continue;
    }
    const Dataset data = load_datasets({spec});
    check(data, expected, "manifest");
    kept += static_cast<int>(expected.kept.size());
    for (const auto& [rule, count] : expected.removed) removed += static_cast<int>(count);

    // A draw of some of them: so many, the same for the same seed, none that was not there.
    const std::size_t count = random() % (expected.kept.size() + 2);
    if (count == 0) continue;
    const std::string drawing = spec + ",count=" + std::to_string(count) + ",seed=3";
    const Dataset drawn = load_datasets({drawing}), again = load_datasets({drawing});
    REQUIRE(drawn.samples.size() == std::min(count, expected.kept.size()));
    for (std::size_t i = 0; i < drawn.samples.size(); ++i) {
      const std::string name = drawn.samples[i].image.filename().string();
      REQUIRE(name == again.samples[i].image.filename().string());
      REQUIRE(std::count(expected.kept.begin(), expected.kept.end(), name) == 1);
    }
  }
  CHECK(kept > 50);
  CHECK(removed > 50);
}

TEST_CASE("random tables of the COVID-19 collection: each row falls to the first rule it breaks") {
  Random random(32);
  int kept = 0, removed = 0;
  for (int round = 0; round < 60; ++round) {
    const TempFolder folder;
    std::vector<std::string> files;
    fs::create_directories(folder / "images");
    for (int i = 0; i < 8; ++i) {
      files.push_back("f" + std::to_string(i) + ".png");
      if (chance(random, 80)) write_text(folder / ("images/" + files.back()), "");
    }
    const bool all_findings = chance(random, 50), all_views = chance(random, 50);
    Expected expected;
    std::set<std::string> named;
    std::string text = csv_line({"patientid", "age", "finding", "view", "modality", "filename"});
    for (std::size_t row = 0, rows = random() % 20; row < rows; ++row) {
      const std::string file = one_of(random, files);
      const std::string view =
          one_of<std::string>(random, {"PA", "AP", "AP Supine", "L", "Axial", ""});
      const std::string modality = one_of<std::string>(random, {"X-ray", "X-ray", "X-ray", "CT"});
      const std::string finding = one_of<std::string>(
          random,
          {"COVID-19", "COVID-19, ARDS", "Pneumonia", "Pneumonia/Viral/COVID-19", "no COVID-19"});
      const std::string patient = std::to_string(random() % 6);
      text += csv_line({patient, chance(random, 50) ? "47" : "", finding, view, modality, file});
      const bool covid = finding != "Pneumonia" && finding != "no COVID-19";
      const bool frontal = view == "PA" || view == "AP" || view == "AP Supine";
      if (modality != "X-ray") {
        ++expected.removed["modality X-ray"];
      } else if (!all_views && !frontal) {
        ++expected.removed["frontal view (PA, AP, AP Supine)"];
      } else if (!all_findings && !covid) {
        ++expected.removed["finding names COVID-19"];
      } else if (!named.insert(file).second) {
        ++expected.removed["named once"];
      } else if (!fs::exists(folder / ("images/" + file))) {
        ++expected.removed["file present"];
      } else {
        expected.kept.push_back(file);
        expected.patient[file] = patient;
      }
    }
    write_text(folder / "metadata.csv", text);
    const std::string spec = "covid:" + folder.path().string() +
                             ",finding=" + (all_findings ? "all" : "covid") +
                             ",view=" + (all_views ? "all" : "frontal");
    INFO("round ", round, ":\n", text);
    if (expected.kept.empty()) {
      CHECK_ERROR(load_datasets({spec}), "no image is left");
      continue;
    }
    check(load_datasets({spec}), expected, "covid");
    kept += static_cast<int>(expected.kept.size());
    for (const auto& [rule, count] : expected.removed) removed += static_cast<int>(count);
  }
  CHECK(kept > 50);
  CHECK(removed > 50);
}
