// Figures of data sets, from the functions and through `thorax data figures`.
#include <doctest/doctest.h>

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/report/dataset_figures.h"
#include "data/decode.h"
#include "data/phantom.h"
#include "tests/apps/report/support.h"
#include "tests/support/places.h"

using namespace thorax;
using namespace thorax::app;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

Dataset two_sources(bool mixed) {
  Dataset d;
  d.classes = {"non-COVID", "COVID-19"};
  for (int i = 0; i < 6; ++i) {
    Sample s;
    s.source = i < 3 ? "covid" : "nih";
    s.label = i < 3 ? 1 : 0;
    if (mixed && i == 0) s.label = 0;
    s.class_name = d.classes[static_cast<std::size_t>(s.label)];
    d.samples.push_back(s);
  }
  return d;
}

std::string phantoms(const TempFolder& folder) {
  PhantomConfig config;
  config.patients = 6;
  config.size = 64;
  write_phantoms(config, folder / "phantoms", 1);
  return (folder / "phantoms").string();
}

}  // namespace

TEST_CASE("class and source that coincide are warned of; mixed ones are not") {
  CHECK(
      contains(confounding_warning(two_sources(false)), "covid only COVID-19, nih only non-COVID"));
  CHECK(confounding_warning(two_sources(true)).empty());
  Dataset one = two_sources(false);
  one.samples.resize(3);
  CHECK(confounding_warning(one).empty());
}

TEST_CASE("counts: the largest first, the many small ones in one bar") {
  std::map<std::string, std::int64_t> counts;
  for (int i = 1; i <= 30; ++i) counts["finding " + std::to_string(i)] = i;
  const BarChart chart = count_chart("Findings", "images", counts, 20);
  REQUIRE(chart.groups.size() == 21);
  CHECK(chart.groups[0] == "finding 30");
  CHECK(chart.groups[20] == "10 others");
  CHECK(chart.series[0].values[20] == 55);
  CHECK(count_chart("Findings", "images", counts, 29).groups.size() == 30);
  const BarChart classes = class_chart(two_sources(true));
  CHECK(classes.groups == std::vector<std::string>{"non-COVID", "COVID-19"});
  CHECK(classes.series[0].values == std::vector<double>{1, 2});
  CHECK(classes.series[1].values == std::vector<double>{3, 0});
}

TEST_CASE("the table of exclusions adds up, rule by rule") {
  const TempFolder folder;
  const std::string root = phantoms(folder);
  std::ofstream(folder / "out.txt")
      << fs::directory_iterator(root + "/CXR_png")->path().filename().string() << "\n";
  const std::vector<std::string> specs = {
      "manifest:" + root + "/manifest.csv,exclude=" + (folder / "out.txt").string(),
      "manifest:" + root + "/manifest.csv,count=3"};
  const Dataset dataset = load_datasets(specs);
  const Table table = exclusion_table(specs, dataset);
  CHECK_NOTHROW(table.check());
  std::int64_t left = 0, removed = 0, read = 0;
  for (const std::vector<Cell>& row : table.rows) {
    if (std::get<std::string>(row[1]) == "entries read") read += std::get<std::int64_t>(row[3]);
    if (const auto* n = std::get_if<std::int64_t>(&row[2])) removed += *n;
    left = std::get<std::int64_t>(row[3]);
  }
  CHECK(left == static_cast<std::int64_t>(dataset.samples.size()));
  CHECK(read - removed == left);
  CHECK(removed > 0);
}

TEST_CASE("augmentation: one row a process, alone and certain, and all of them last") {
  const AugmentConfig study = augment_preset("study");
  const std::vector<AugmentProcess> processes = augment_processes(study);
  REQUIRE(processes.size() == 8);  // Table 3 without padding and cropping, which every one has
  CHECK(processes[1].name == "rotate -45 to 45 degrees");
  CHECK(processes[1].config.rotate_probability == 1);
  CHECK(processes[1].config.gamma_probability == 0);
  CHECK(processes.back().config.shear_x_probability == study.shear_x_probability);
  CHECK(augment_processes(augment_preset("none")).size() == 1);

  Image gray(64, 64);
  for (int y = 0; y < 64; ++y)
    for (int x = 0; x < 64; ++x) gray.at(y, x) = static_cast<float>(x) / 64;
  ImageU8 mask(64, 64);
  for (int y = 20; y < 40; ++y)
    for (int x = 20; x < 40; ++x) mask.at(y, x) = 255;
  const ImageU8 sheet = augmentation_sheet(gray, mask, processes, 2, 64, 1);
  CHECK(sheet.channels == 3);
  CHECK(sheet.width == 3 * 70 + 6);
  const auto same = augmentation_sheet(gray, mask, processes, 2, 64, 1);
  CHECK(sheet.pixels == same.pixels);
  CHECK(sheet.pixels != augmentation_sheet(gray, mask, processes, 2, 64, 2).pixels);
  CHECK(sheet.pixels != augmentation_sheet(gray, {}, processes, 2, 64, 1).pixels);
  CHECK_REFUSED(augmentation_sheet(gray, ImageU8(3, 3), processes),
                "the mask is 3x3, its image 64x64");
}

TEST_CASE("thorax data figures: every figure, the table, and one report that holds them all") {
  const TempFolder folder;
  const std::string root = phantoms(folder), out = (folder / "out").string();
  const Outcome trained =
      run_thorax({"train", "segmenter", "--data", "shenzhen:" + root, "--size", "32", "--width",
                  "4", "--epochs", "1", "--batch", "2", "--out", (folder / "lungs").string()});
  INFO(trained.output);
  REQUIRE(trained.exit_code == 0);
  const std::string segmenter = (folder / "lungs/last.safetensors").string();
  const Outcome made =
      run_thorax({"data", "figures", "--data", "manifest:" + root + "/manifest.csv", "--out", out,
                  "--segmenter", segmenter, "--per-class", "4", "--min-area", "0"});
  INFO(made.output);
  REQUIRE(made.exit_code == 0);
  CHECK(contains(made.output, "What each rule removed"));
  for (const char* name : {"report.html", "exclusions.csv", "exclusions.json", "exclusions.txt",
                           "classes.svg", "classes.png", "findings_1_manifest.svg",
                           "samples_phantom.png", "augmentation.png", "segmentation_steps.png"})
    CHECK_MESSAGE(fs::exists(fs::path(out) / name), name);
  const XmlCheck xml = check_xml(file_text(fs::path(out) / "report.html"));
  CHECK(xml.error == "");
  CHECK(outside_references(xml) == "");
  for (const char* part : {"What was removed", "Distribution", "Samples", "Segmentation steps",
                           "Augmentation", "lungs cut", "accepted"})
    CHECK_MESSAGE(contains(xml.text, part), part);
  // Six steps of 512 x 512, side by side.
  const ImageInfo steps = read_image_info(fs::path(out) / "segmentation_steps.png");
  CHECK(steps.width == 6 * 520 + 8);

  // A file that cannot be read is counted; the example is another one.
  std::ofstream(fs::directory_iterator(root + "/CXR_png")->path()) << "no image";
  for (const char* seed : {"0", "1", "2"}) {
    const Outcome bad =
        run_thorax({"data", "figures", "--data", "manifest:" + root + "/manifest.csv", "--out", out,
                    "--seed", seed});
    INFO(bad.output);
    REQUIRE(bad.exit_code == 0);
  }
  CHECK(contains(file_text(fs::path(out) / "report.html"), "Files that cannot be read: 1."));

  const Outcome wrong =
      run_thorax({"data", "figures", "--data", "manifest:" + root + "/manifest.csv", "--out", out,
                  "--image", "absent.png"});
  CHECK(wrong.exit_code == 1);
  CHECK_FALSE(fs::exists(folder / "none"));
  CHECK(contains(wrong.output, "absent.png: neither an image of the data nor a file"));
}

TEST_CASE("the distribution is that of the whole source, before the rules") {
  const char* set = std::getenv("THORAX_DATA");
  const fs::path data =
      set ? fs::path(set) : thorax::test::source_folder() / ".." / "shared" / "data";
  if (!fs::is_directory(data / "covid-chestxray-dataset")) {
    std::cerr
        << "SKIPPED: no real data ($THORAX_DATA or ../shared/data): this test ran on nothing\n";
    return;
  }
  const std::string covid = "covid:" + (data / "covid-chestxray-dataset").string();
  const std::map<std::string, std::int64_t> counts = findings_before_rules(covid);
  std::int64_t images = 0;
  for (const auto& [name, count] : counts) images += count;
  CHECK(counts.at("SARS") >= 16);
  CHECK(counts.size() > 10);
  CHECK(images > static_cast<std::int64_t>(load_datasets({covid}).samples.size()));
}
