// Several findings an image: CheXpert's and NIH's own tables, manifests, sources joined, --task.
#include "data/multilabel.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "data/classes.h"
#include "data/csv.h"
#include "data/dataset.h"
#include "data/describe.h"
#include "data/encode.h"
#include "data/loader.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

using Names = std::vector<std::string>;

const Names kChexpert{"No Finding",       "Enlarged Cardiomediastinum",
                      "Cardiomegaly",     "Lung Opacity",
                      "Lung Lesion",      "Edema",
                      "Consolidation",    "Pneumonia",
                      "Atelectasis",      "Pneumothorax",
                      "Pleural Effusion", "Pleural Other",
                      "Fracture",         "Support Devices"};

// Rows of labels for images of patients 1, 2, ...: "1.0,,-1.0,..." each, 14 fields.
void make_chexpert(const fs::path& root, const Names& rows,
                   const std::string& table = "train.csv") {
  Names columns{"Path", "Sex", "Age", "Frontal/Lateral", "AP/PA"};
  columns.insert(columns.end(), kChexpert.begin(), kChexpert.end());
  std::string text = csv_line(columns);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::string path =
        fmt::format("CheXpert-v1.0-small/train/patient{:05}/study1/view1_frontal.jpg", i + 1);
    make_image(root / fs::path(path).replace_extension(".png"));
    text +=
        fs::path(path).replace_extension(".png").string() + ",Male,60,Frontal,AP," + rows[i] + "\n";
  }
  write_text(root / "CheXpert-v1.0-small" / table, text);
}

// 14 cells, empty but for those given.
std::string cells(const std::map<std::string, std::string>& given) {
  Names out;
  for (const std::string& name : kChexpert)
    out.push_back(given.contains(name) ? given.at(name) : "");
  return fmt::format("{}", fmt::join(out, ","));
}

void make_nih(const fs::path& root, const Names& labels) {
  std::string text =
      "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
      "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n";
  for (std::size_t i = 0; i < labels.size(); ++i) {
    text += fmt::format("{}_0.png,{},0,{},58,F,PA,10,8,0.1,0.1\n", i, labels[i], i);
    make_image(root / "images" / fmt::format("{}_0.png", i));
  }
  write_text(root / "Data_Entry_2017.csv", text);
}

Names texts(const Dataset& d) {
  Names out;
  for (const Sample& s : d.samples) out.push_back(label_text(s.labels));
  return out;
}

bool noted(const Dataset& d, const std::string& part) {
  for (const std::string& note : d.report.notes)
    if (contains(note, part)) return true;
  return false;
}

}  // namespace

TEST_CASE("multilabel: chexpert's fourteen findings, uncertain and empty cells by option") {
  const TempFolder tmp;
  make_chexpert(tmp / "c", {cells({{"Edema", "1.0"}, {"Pneumonia", "-1.0"}, {"Fracture", "0.0"}}),
                            cells({{"No Finding", "1.0"}, {"Support Devices", "1"}}), cells({})});
  const std::string spec = "chexpert:" + (tmp / "c").string();
  // The view of one class stays the default.
  CHECK_FALSE(load_datasets({spec}).multilabel);
  CHECK(load_datasets({spec}).samples.size() == 1);

  const Dataset d = load_datasets({spec + ",labels=multi"});
  CHECK(d.multilabel);
  CHECK(d.classes == kChexpert);
  CHECK(texts(d) == Names{"?????1??????0?", "1????????????1"});
  CHECK(d.samples[0].finding == "Edema");
  CHECK(d.samples[1].finding == "No Finding|Support Devices");
  CHECK(d.samples[0].class_name.empty());
  CHECK(noted(d, "1 uncertain labels (-1) are read as unknown (uncertain=ignore)"));
  CHECK(noted(d, "37 empty labels are read as unknown (blank=unknown)"));
  // The third row, of which nothing is known, teaches nothing.
  bool counted = false;
  for (const FilterRule& rule : d.report.rules)
    if (rule.name == "a finding is known") counted = rule.removed == 1;
  CHECK(counted);

  const std::string some = spec + ",findings=pneumonia,Edema,Fracture";
  CHECK(texts(load_datasets({some})) == Names{"?10"});
  CHECK(load_datasets({some}).classes == Names{"Pneumonia", "Edema", "Fracture"});
  CHECK(texts(load_datasets({some + ",uncertain=ones"})) == Names{"110"});
  CHECK(texts(load_datasets({some + ",uncertain=zeros"})) == Names{"010"});
  CHECK(texts(load_datasets({some + ",blank=negative"})) == Names{"?10", "000", "000"});
  // --task multilabel asks for it without an option.
  CHECK(texts(load_datasets({spec}, OnPatientConflict::drop, ClassTask::multilabel)) == texts(d));

  make_chexpert(tmp / "v", {cells({{"Edema", "0.0"}, {"Mass", ""}})}, "valid.csv");
  CHECK(texts(load_datasets({"chexpert:" + (tmp / "v").string() +
                             ",table=valid.csv,findings=Edema"})) == Names{"0"});
}

TEST_CASE("multilabel: nih's labels, none of them, and what is no label") {
  const TempFolder tmp;
  make_nih(tmp / "n", {"No Finding", "Mass|Nodule", "Pleural_Thickening"});
  const std::string spec = "nih:" + (tmp / "n").string();
  CHECK(load_datasets({spec}).samples.size() == 1);
  const Dataset d = load_datasets({spec + ",labels=multi"});
  CHECK(d.classes.size() == 14);
  CHECK(texts(d) == Names{"00000000000000", "00001100000000", "00000000000010"});
  CHECK(d.samples[1].finding == "Mass|Nodule");
  const Dataset chosen = load_datasets({spec + ",findings=Pleural Thickening,No Finding,Nodule"});
  CHECK(chosen.classes == Names{"Pleural_Thickening", "No Finding", "Nodule"});
  CHECK(texts(chosen) == Names{"010", "001", "100"});
  CHECK_ERROR(load_datasets({spec + ",labels=multi,blank=negative"}), "labels are complete");

  make_nih(tmp / "bad", {"Mass|Nodul"});
  CHECK_ERROR(load_datasets({"nih:" + (tmp / "bad").string() + ",labels=multi"}),
              "Data_Entry_2017.csv:2: Finding Labels 'Mass|Nodul': 'Nodul' is none of: No Finding, "
              "Atelectasis, ");
  make_nih(tmp / "both", {"Mass|No Finding"});
  CHECK_ERROR(load_datasets({"nih:" + (tmp / "both").string() + ",labels=multi"}),
              "'No Finding' stands beside a finding");
  make_nih(tmp / "empty", {""});
  CHECK_ERROR(load_datasets({"nih:" + (tmp / "empty").string() + ",labels=multi"}),
              "Finding Labels is empty");
}

TEST_CASE("multilabel: a manifest states it by its columns, and comes back as it was written") {
  const TempFolder tmp;
  for (const char* name : {"a", "b", "c"}) make_image(tmp / (std::string(name) + ".png"));
  write_text(tmp / "m.csv",
             "path,patient,label:Edema,\"label:Mass, large\",view\n"
             "a.png,1,1,0,PA\nb.png,1,,-1,PA\nc.png,2,0.0, 1 ,AP\n");
  const std::string spec = "manifest:" + (tmp / "m.csv").string();
  const Dataset d = load_datasets({spec});
  CHECK(d.multilabel);
  CHECK(d.classes == Names{"Edema", "Mass, large"});
  CHECK(texts(d) == Names{"10", "01"});  // of b.png nothing is known
  CHECK(texts(load_datasets({spec + ",uncertain=ones"})) == Names{"10", "?1", "01"});
  CHECK(load_datasets({spec + ",findings=edema"}).classes == Names{"Edema"});
  // Letters of any script tell findings apart.
  write_text(tmp / "u.csv", "path,label:水肿,label:肿块\na.png,1,0\nb.png,0,1\n");
  CHECK(load_datasets({"manifest:" + (tmp / "u.csv").string()}).classes == Names{"水肿", "肿块"});
  CHECK(load_datasets({"manifest:" + (tmp / "u.csv").string() + ",findings=肿块"}).classes ==
        Names{"肿块"});
  CHECK_FALSE(same_class("+", "-"));
  // One patient with two findings is no conflict.
  CHECK(load_datasets({spec + ",blank=negative"}, OnPatientConflict::error).samples.size() == 3);

  const Dataset ones = load_datasets({spec + ",uncertain=ones"});
  write_manifest(ones, tmp / "again.csv");
  const Dataset again = load_datasets({"manifest:" + (tmp / "again.csv").string()});
  CHECK(again.classes == ones.classes);
  CHECK(texts(again) == texts(ones));
  CHECK(dataset_checksum(again) == dataset_checksum(ones));
  CHECK(dataset_checksum(ones) !=
        dataset_checksum(load_datasets({spec + ",blank=negative,uncertain=ones"})));
  CHECK(again.samples[1].finding == "Mass, large");

  const DatasetSummary summary = summarize(d);
  REQUIRE(summary.labels.size() == 2);
  CHECK(summary.labels[0].positive == 1);
  CHECK(summary.labels[1].negative == 1);
  CHECK(summary.classifier_problem.empty());
  CHECK(contains(describe_text(summary), "Several findings an image"));
  CHECK(describe_json(summary).at("labels").at(0).at("finding") == "Edema");
  CHECK(describe_json(summary).at("labels").at(1).at("unknown") == 0);
}

TEST_CASE("multilabel: what a table may not say") {
  const TempFolder tmp;
  make_image(tmp / "a.png");
  make_image(tmp / "b.png");
  const auto load = [&](const std::string& text, const std::string& options = "") {
    write_text(tmp / "m.csv", text);
    return load_datasets({"manifest:" + (tmp / "m.csv").string() + options});
  };
  CHECK_ERROR(load("path,label:Edema\na.png,1\nb.png,yes\n"),
              "m.csv:3: Edema 'yes': must be 1 (positive), 0 (negative), -1 (uncertain) or empty");
  for (const char* odd : {"2", "1.00", "+1", "0.5", "nan", "--1", "1e0"})
    CHECK_ERROR(load(fmt::format("path,label:Edema\na.png,{}\n", odd)), "must be 1 (positive)");
  CHECK_ERROR(load("path,lable:Edema\na.png,1\n"), "column 'label'");
  CHECK_ERROR(load("path,label:Edema,lable:Mass\na.png,1,0\n"),
              "column 'lable:Mass' is unknown; known: path, ");
  CHECK_ERROR(load("path,label:\na.png,1\n"), "the finding's name follows the colon");
  CHECK_ERROR(load("path,label: Edema\na.png,1\n"), "without blanks around it");
  CHECK_ERROR(load("path,label:Edema,label:edema\na.png,1,0\n"), "are one finding");
  CHECK_ERROR(load("path,label,label:Edema\na.png,x,1\n"), "remove one of them");
  CHECK_ERROR(load("path,label:Edema,positive\na.png,1,Edema\n"),
              "column 'positive' is for one class an image");
  CHECK_ERROR(load("path,label:Edema\na.png,1\na.png,0\n"),
              "image 'a.png' has '1' and '0' as label:Edema");
  CHECK_ERROR(load("path,label:Edema\na.png,1\n", ",findings=Mass"),
              "findings=Mass: 'Mass' is none of: Edema");
  CHECK_ERROR(load("path,label:Edema\na.png,1\n", ",findings=Edema,edema"), "is there twice");
  CHECK_ERROR(load("path,label:Edema\na.png,1\n", ",labels=single"), "leave the option out");
  CHECK_ERROR(load("path,label:Edema\na.png,1\n", ",class=x"), "is for one class an image");
  CHECK_ERROR(load("path,label:Edema\na.png,1\n", ",positive=Edema"), "is for one class an image");
  CHECK_ERROR(load("path,label\na.png,x\n", ",blank=negative"), "is for several findings an image");
  CHECK_ERROR(load("path,label\na.png,x\n", ",labels=multi"), "has no column label:NAME");
  CHECK_ERROR(load("path,label:Edema\na.png,1\n", ",uncertain=maybe"), "must be one of ignore");
  CHECK_ERROR(load("path,label:Edema\na.png,\nb.png,-1\n"), "2 by 'a finding is known'");
}

TEST_CASE("multilabel: sources joined by the findings' names") {
  const TempFolder tmp;
  make_nih(tmp / "n", {"No Finding", "Mass|Edema"});
  make_chexpert(tmp / "c", {cells({{"Edema", "1.0"}, {"Fracture", "0.0"}})});
  const std::string nih = "nih:" + (tmp / "n").string() + ",findings=Edema,Mass",
                    chexpert = "chexpert:" + (tmp / "c").string() + ",findings=Fracture,Edema";
  Dataset d = load_datasets({nih, chexpert});
  CHECK(d.classes == Names{"Edema", "Mass", "Fracture"});
  CHECK(texts(d) == Names{"00?", "11?", "1?0"});
  CHECK(task_of(d) == ClassTask::multilabel);
  CHECK(contains(multilabel_problem(d), "Fracture (0 positive, 1 negative, 2 unknown)"));
  CHECK(contains(classifier_problem(d), "blank=negative"));
  CHECK(arrange_findings(d, {"Fracture", "Hernia", "edema"}) == Names{"Mass"});
  CHECK(texts(d) == Names{"??0", "??1", "0?1"});
  // Not all of them alike.
  CHECK_ERROR(load_datasets({nih, "chexpert:" + (tmp / "c").string() + ",finding=all"}),
              "gives each image one class, ");
}

TEST_CASE("--task: what the data is not good for is refused with its classes and a remedy") {
  const TempFolder tmp;
  for (const char* name : {"a", "b", "c"})
    make_image(tmp / "d" / name / (std::string(name) + ".png"));
  make_nih(tmp / "n", {"No Finding", "Mass"});
  const std::string three = "folder:" + (tmp / "d").string(), two = three + ",classes=a,b",
                    nih = "nih:" + (tmp / "n").string();
  const auto load = [](const std::string& spec, const char* task) {
    return load_datasets({spec}, OnPatientConflict::report, parse_class_task(task));
  };
  CHECK(load(three, "auto").classes.size() == 3);
  CHECK(load(three, "multiclass").classes.size() == 3);
  CHECK(load(two, "binary").classes.size() == 2);
  CHECK(load(nih, "multilabel").multilabel);
  CHECK_ERROR(load(three, "binary"),
              "--task binary: the data has 3 classes: a (1 images), b (1 images), c (1 images); "
              "classes=A,B of a source keeps two");
  CHECK_ERROR(load(two, "multiclass"), "the data has 2: a (1 images), b (1 images); --task binary");
  CHECK_ERROR(load(three, "multilabel"),
              "folder: labels=multi: this kind names one class an image");
  CHECK_ERROR(load(nih + ",labels=multi", "binary"), "the data has several findings an image");
  CHECK_ERROR(load(nih + ",labels=multi", "multiclass"), "Atelectasis, Cardiomegaly");
  CHECK_ERROR(load(nih + ",labels=single", "multilabel"), "the data has one class an image");
  CHECK_ERROR(parse_class_task("multi"), "--task multi: must be one of auto, binary, ");
}

TEST_CASE("multilabel: a loader's batch has targets, and weights that mask what is not known") {
  const TempFolder tmp;
  std::string text = "path,label:a,label:b\n";
  for (int i = 0; i < 5; ++i) {
    make_image(tmp / fmt::format("{}.png", i));
    text += fmt::format("{}.png,{},{}\n", i, i % 2, i < 3 ? "" : "1");
  }
  write_text(tmp / "m.csv", text);
  const Dataset d = load_datasets({"manifest:" + (tmp / "m.csv").string()});
  LoaderConfig config;
  config.height = config.width = 8;
  config.batch = 4;
  config.shuffle = false;
  config.with_label = false;
  config.with_findings = true;
  config.workers = 0;
  Loader loader(d.samples, config);
  const Batch batch = loader.get(0, 0);
  const Tensor target = batch.tensors.at("findings"), weight = batch.tensors.at("finding_weights");
  REQUIRE(target.shape() == Shape{4, 2});
  REQUIRE(weight.shape() == Shape{4, 2});
  const std::vector<float> targets(target.data<float>(), target.data<float>() + 8),
      weights(weight.data<float>(), weight.data<float>() + 8);
  CHECK(targets == std::vector<float>{0, 0, 1, 0, 0, 0, 1, 1});
  const float w = 1.f / 5;
  CHECK(weights == std::vector<float>{w, 0, w, 0, w, 0, w, w});
  CHECK_FALSE(batch.tensors.contains("label"));
  // A file that is left out takes its labels with it.
  write_text(tmp / "1.png", "no image");
  config.on_bad_file = OnBadFile::skip;
  Loader skipping(d.samples, config);
  const Batch three = skipping.get(0, 0);
  REQUIRE(three.tensors.at("findings").shape() == Shape{3, 2});
  CHECK(three.tensors.at("finding_weights").data<float>()[0] == 0.25f);
  CHECK(three.tensors.at("findings").data<float>()[4] == 1);
  std::vector<Sample> none = d.samples;
  none[1].labels.clear();
  CHECK_ERROR(Loader(none, config), "has labels of 0 findings");
}
