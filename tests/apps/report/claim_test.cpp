// The checklist: complete, and it says only what the run's folder says.
#include "apps/report/claim.h"

#include <doctest/doctest.h>

#include <fstream>

#include "tests/apps/report/support.h"

using namespace thorax;
using namespace thorax::app;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string answer(const Table& table, int item) {
  const std::vector<Cell>& row = table.rows.at(static_cast<std::size_t>(item - 1));
  REQUIRE(std::get<std::int64_t>(row[0]) == item);
  return std::get<std::string>(row[3]);
}

void write_run(const TempFolder& run, const std::string& group) {
  write(run / "config.json", R"({"command": "kfold classifier", "version": "0.1.0",
    "data_checksum": "0", "settings": {"task": "classifier", "data": ["covid:a", "nih:b,count=5"],
    "on_patient_conflict": "drop", "on_error": "skip", "segmenter": "lungs.safetensors",
    "min_area": 50000, "model": {"model": "hrnet_w18", "outputs": 1}, "weights": "", "size": 224,
    "epochs": 3, "batch": 8, "optimizer": {"name": "adamw"}, "schedule": {"lr": 0.001},
    "augment": "study", "clip_norm": 1, "norm_batches": 16, "precision": "float32", "seed": 7}})");
  write(run / "provenance.json", R"([{"thorax": "0.1.0", "commit": "abc1234", "compiler": "g++ 12",
    "system": "Linux", "device_name": "a processor"}])");
  write(run / "splits.json", R"({"seed": 7, "group": ")" + group + R"(", "kind": "cross-validation",
    "folds": [{"train": ["a", "b"], "validation": ["c"]}, {"train": ["c"], "validation": ["a", "b"]}]})");
  write(run / "manifest.csv",
        "path,label,patient,mask,source,finding,view,age\n"
        "a.png,COVID-19,covid/1,,covid,COVID-19,PA,40\n"
        "b.png,COVID-19,covid/1,,covid,COVID-19,AP,60\n"
        "c.png,non-COVID,nih/2,,nih,No Finding,PA,\n");
  write(run / "crossval/summary.json", R"({"folds": [{}, {}],
    "mean": {"accuracy": 0.975, "sensitivity": 0.5, "auc": null},
    "standard_deviation": {"accuracy": 0.0125, "sensitivity": null},
    "pooled_counts": {"tp": 1, "fn": 2, "fp": 3, "tn": 4}})");
  fs::create_directories(run / "crossval/heatmaps");
}

}  // namespace

TEST_CASE("CLAIM: all 44 items in order; what the run tells is there, the rest says so") {
  const TempFolder run;
  write_run(run, "patient");
  const Table table = claim_table(read_run_facts(run.path()));
  REQUIRE(table.rows.size() == 44);
  for (int item : {2, 3, 4, 11, 15, 16, 18, 21, 30, 33, 34, 40, 41, 42, 44})
    CHECK(answer(table, item) == kNotAnswered);
  const auto says = [&](int item, const char* part) {
    CHECK_MESSAGE(contains(answer(table, item), part), item << ": " << answer(table, item));
  };
  says(1, "hrnet_w18, classifier");
  says(5, "retrospective");
  says(7, "Images: covid 2, nih 1");
  says(8, "50000");
  says(10, "nih:b,count=5");
  says(12, "left out");
  says(13, "AP 1, PA 2");
  says(19, "2 fold(s), stratified by class, seed 7; training/held out: 2/1, 1/2");
  says(20, "patient: no patient is on both sides");
  says(23, "commit abc1234");
  says(24, "random, from seed 7");
  says(25, "optimizer name adamw");
  says(29, "2 folds");
  says(31, "heatmaps");
  says(35,
       "3 images of 2 patients (images: COVID-19 2, non-COVID 1; patients: COVID-19 1, non-COVID "
       "1)");
  says(36, "age 40 to 60 years, mean 50.0, known for 2 of 3 images");
  says(37, "accuracy 97.50 % \u00B1 1.25");
  says(38, "sensitivity 50.00 %");
  says(39, "2 false negatives and 3 false positives");
  int answered = 0;
  for (int item = 1; item <= 44; ++item) answered += answer(table, item) != kNotAnswered;
  CHECK(contains(table.notes[0], fmt::format("{} of 44 items answered", answered)));
  CHECK(check_xml(to_html(table)).error == "");
}

TEST_CASE("CLAIM: an audit answers what a cross-validation leaves open") {
  const TempFolder run;
  write(run / "config.json", "{\"settings\": {\"task\": \"classifier\"}}");
  write(run / "audit/summary.json", R"({
    "headline": {"cross_validation": {"mean": {"auc": 0.75}}},
    "Whole image": {}, "Random labels": {}})");
  const Table table = claim_table(read_run_facts(run.path()));
  CHECK(contains(answer(table, 30), "Random labels, Whole image"));
  CHECK(contains(answer(table, 37), "auc 75.00 %"));
  CHECK(answer(table, 33) == kNotAnswered);
  write(run / "audit/summary.json", R"({"headline": {}, "External images": {}})");
  CHECK(contains(answer(claim_table(read_run_facts(run.path())), 33), "other sources"));
}

TEST_CASE("CLAIM: splitting by image is called what it is") {
  const TempFolder run;
  write_run(run, "image");
  CHECK(contains(answer(claim_table(read_run_facts(run.path())), 20), "IMAGE ONLY"));
}

TEST_CASE("CLAIM: a run that has only begun answers little; no run is an error") {
  const TempFolder run;
  CHECK_REFUSED(read_run_facts(run.path()), "is no run (no config.json)");
  write(run / "config.json", "{}");
  const Table table = claim_table(read_run_facts(run.path()));
  CHECK(answer(table, 19) == kNotAnswered);
  CHECK(answer(table, 25) == kNotAnswered);
  CHECK(answer(table, 37) == kNotAnswered);
  write(run / "config.json", "{\"settings\": [1, 2], \"command\": 3}");
  CHECK(claim_table(read_run_facts(run.path())).rows.size() == 44);
  write(run / "config.json", "{");
  CHECK_REFUSED(read_run_facts(run.path()), "[config] ");
}
