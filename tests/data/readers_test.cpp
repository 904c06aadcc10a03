// Readers against small folders made here; the real collections are counted in real_data_test.cpp.
#include "data/csv.h"
#include "data/dataset.h"
#include "data/encode.h"
#include "data/inspect.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

int64_t removed(const Dataset& d, const std::string& rule) {
  for (const FilterRule& r : d.report.rules)
    if (r.name == rule) return r.removed;
  return -1;
}

std::string covid_row(const std::string& id, const std::string& finding, const std::string& view,
                      const std::string& modality, const std::string& file,
                      const std::string& age = "60") {
  return csv_line({id, age, finding, view, modality, "images", file});
}

const std::string kCovidHeader = "patientid,age,finding,view,modality,folder,filename\n";

void make_covid(const fs::path& root) {
  write_text(root / "metadata.csv",
             kCovidHeader + covid_row("1", "COVID-19", "PA", "X-ray", "a.png") +
                 covid_row("1", "COVID-19, ARDS", "AP Supine", "X-ray", "b.png", "") +
                 covid_row("2", "COVID-19", "L", "X-ray", "c.png") +
                 covid_row("3", "COVID-19", "Axial", "CT", "d.png") +
                 covid_row("313b", "SARS", "AP", "X-ray", "e.png") +
                 covid_row("4", "COVID-19", "AP", "X-ray", "gone.png") +
                 covid_row("5", "COVID-19", "PA", "X-ray", "a.png") +
                 covid_row("1", "No Finding", "PA", "X-ray", "f.png"));
  for (const char* f : {"a", "b", "c", "d", "e", "f"})
    make_image(root / "images" / (std::string(f) + ".png"));
}

void make_nih(const fs::path& root) {
  write_text(
      root / "Data_Entry_2017.csv",
      "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
      "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
      "1_0.png,No Finding,0,1,58,F,PA,10,8,0.1,0.1\n"
      "1_1.png,No Finding,1,1,058Y,F,AP,10,8,0.1,0.1\n"
      "2_0.png,No Finding,0,2,17,M,PA,10,8,0.1,0.1\n"
      "3_0.png,Pneumonia|Mass,0,3,60,M,PA,10,8,0.1,0.1\n"
      "4_0.png,No Finding,0,4,18,M,LL,10,8,0.1,0.1\n"
      "5_0.png,No Finding,0,5,18,M,PA,10,8,0.1,0.1\n");
  for (const char* f : {"1_0", "1_1", "2_0", "3_0"})
    make_image(root / "images_001/images" / (std::string(f) + ".png"));
  for (const char* f : {"4_0", "5_0"})
    make_image(root / "images_002/images" / (std::string(f) + ".png"));
}

}  // namespace

TEST_CASE("covid: filters and counts") {
  TempFolder tmp;
  make_covid(tmp / "covid");
  const Dataset d = load_datasets({"covid:" + (tmp / "covid").string()});
  REQUIRE(d.samples.size() == 2);
  CHECK(removed(d, "modality X-ray") == 1);
  CHECK(removed(d, "frontal view (PA, AP, AP Supine)") == 1);
  CHECK(removed(d, "finding names COVID-19") == 2);
  CHECK(removed(d, "named once") == 1);
  CHECK(removed(d, "file present") == 1);
  CHECK(d.report.sources[0].rows == 8);
  CHECK(d.report.sources[0].kept == 2);
  CHECK(d.samples[0].patient == "covid/1");
  CHECK(d.samples[0].age == 60.0);
  CHECK_FALSE(d.samples[1].age.has_value());
  CHECK(d.samples[1].finding == "COVID-19, ARDS");
  CHECK(d.classes == std::vector<std::string>{"COVID-19"});
}

TEST_CASE("covid: all findings, patients in two classes") {
  TempFolder tmp;
  make_covid(tmp / "covid");
  const std::string spec = "covid:" + (tmp / "covid").string() + ",finding=all";
  const Dataset d = load_datasets({spec});
  CHECK(d.classes == std::vector<std::string>{"non-COVID", "COVID-19"});
  CHECK(d.samples.size() == 4);
  CHECK(d.samples[0].label == 1);
  REQUIRE(d.report.conflicts.size() == 1);
  CHECK(d.report.conflicts[0].patient == "covid/1");
  CHECK(d.report.conflicts[0].images_per_class.at("COVID-19") == 2);
  CHECK_ERROR(load_datasets({spec}, OnPatientConflict::error),
              "1 patients have images in more than one class: covid/1; --on-patient-conflict drop");
  const Dataset dropped = load_datasets({spec}, OnPatientConflict::drop);
  CHECK(dropped.samples.size() == 1);
  CHECK(removed(dropped, "patient in one class only") == 3);
}

TEST_CASE("patients in two classes who are all dropped: the way out is named") {
  TempFolder tmp;
  make_image(tmp / "a.png");
  make_image(tmp / "b.png");
  write_text(tmp / "m.csv", "path,label,patient\na.png,normal,p\nb.png,ill,p\n");
  const std::string spec = "manifest:" + (tmp / "m.csv").string();
  CHECK_ERROR(load_datasets({spec}, OnPatientConflict::drop),
              "all 2 are of 1 patients with images in more than one class, as");
  CHECK_ERROR(load_datasets({spec}, OnPatientConflict::drop), "--on-patient-conflict report keeps");
}

TEST_CASE("covid: masks are joined by file name") {
  TempFolder tmp;
  make_covid(tmp / "covid");
  make_image(tmp / "masks/a.png", 255);
  write_text(tmp / "masks/index.csv", "image,mask\ncovid/images/a.png,masks/a.png\n");
  const std::string spec =
      "covid:" + (tmp / "covid").string() + ",masks=" + (tmp / "masks").string();
  Dataset d = load_datasets({spec});
  REQUIRE(d.samples.size() == 2);
  CHECK(d.samples[0].masks.size() == 1);
  CHECK(d.samples[1].masks.empty());
  d = load_datasets({spec + ",mask=required"});
  CHECK(d.samples.size() == 1);
  CHECK(removed(d, "lung mask present") == 1);
  write_text(tmp / "masks/index.csv", "image,mask\nx/a.png,masks/a.png\ny/a.png,masks/a.png\n");
  CHECK_ERROR(load_datasets({spec}), "index.csv:3: image 'a.png' has a second mask");
}

TEST_CASE("nih: filters, folders as shipped, random draw") {
  TempFolder tmp;
  make_nih(tmp / "nih");
  const std::string spec = "nih:" + (tmp / "nih").string();
  const Dataset d = load_datasets({spec});
  REQUIRE(d.samples.size() == 3);
  CHECK(removed(d, "finding No Finding") == 1);
  CHECK(removed(d, "age >= 18") == 1);
  CHECK(removed(d, "view PA or AP") == 1);
  CHECK(d.samples[1].age == 58.0);
  CHECK(d.samples[0].patient == "nih/1");
  CHECK(load_datasets({spec + ",finding=all,min_age=0"}).samples.size() == 5);

  const Dataset one = load_datasets({spec + ",count=2,seed=5"});
  CHECK(one.samples.size() == 2);
  CHECK(removed(one, "random draw of 2 (seed 5)") == 1);
  const Dataset again = load_datasets({spec + ",count=2,seed=5"});
  CHECK(one.samples[0].image == again.samples[0].image);
  bool differs = false;
  for (int seed = 0; seed < 20; ++seed)
    differs |= load_datasets({spec + ",count=2,seed=" + std::to_string(seed)}).samples[0].image !=
               one.samples[0].image;
  CHECK(differs);
}

TEST_CASE("chexpert: the original layout, from the folder, its parent, or renamed") {
  TempFolder tmp;
  const fs::path root = tmp / "CheXpert-v1.0-small";
  write_text(
      root / "train.csv",
      "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly\n"
      "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Male,68,Frontal,AP,1.0,\n"
      "CheXpert-v1.0-small/train/patient00001/study1/view2_lateral.jpg,Male,68,Lateral,,1.0,\n"
      "CheXpert-v1.0-small/train/patient00002/study1/view1_frontal.jpg,Male,18,Frontal,PA,1.0,\n"
      "CheXpert-v1.0-small/train/patient00003/study2/view1_frontal.jpg,Male,40,Frontal,PA,,1.0\n"
      "CheXpert-v1.0-small/train/patient00004/study1/view1_frontal.jpg,Male,19,Frontal,PA,1.0,\n");
  for (const char* p :
       {"patient00001/study1/view1_frontal.jpg", "patient00001/study1/view2_lateral.jpg",
        "patient00002/study1/view1_frontal.jpg", "patient00003/study2/view1_frontal.jpg"})
    make_image(root / "train" / p);
  for (const fs::path& path : {root, tmp.path()}) {
    const Dataset d = load_datasets({"chexpert:" + path.string()});
    REQUIRE(d.samples.size() == 1);
    CHECK(d.samples[0].patient == "chexpert/patient00001");
    CHECK(removed(d, "frontal view") == 1);
    CHECK(removed(d, "No Finding") == 1);
    CHECK(removed(d, "age > 18") == 1);
    CHECK(removed(d, "file present") == 1);
  }
  fs::rename(root, tmp / "renamed");
  CHECK(load_datasets({"chexpert:" + (tmp / "renamed").string()}).samples.size() == 1);
}

TEST_CASE("montgomery and shenzhen: masks") {
  TempFolder tmp;
  for (const char* n : {"MCUCXR_0001_0.png", "MCUCXR_0002_1.png"}) {
    make_image(tmp / "m/CXR_png" / n);
    make_image(tmp / "m/ManualMask/leftMask" / n, 255);
  }
  make_image(tmp / "m/ManualMask/rightMask/MCUCXR_0002_1.png", 255);
  make_image(tmp / "s/CXR_png/CHNCXR_0001_0.png");
  make_image(tmp / "s/CXR_png/CHNCXR_0002_1.png");
  make_image(tmp / "s/mask/CHNCXR_0001_0_mask.png", 255);
  const Dataset d =
      load_datasets({"montgomery:" + (tmp / "m").string(), "shenzhen:" + (tmp / "s").string()});
  REQUIRE(d.samples.size() == 2);
  CHECK(d.samples[0].masks.size() == 2);
  CHECK(d.samples[0].class_name == "tuberculosis");
  CHECK(d.samples[1].masks.size() == 1);
  CHECK(d.samples[1].class_name == "normal");
  CHECK(d.classes == std::vector<std::string>{"normal", "tuberculosis"});
  CHECK(d.report.rules.size() == 6);
  CHECK(load_datasets({"shenzhen:" + (tmp / "s").string() + ",mask=optional"}).samples.size() == 2);
  make_image(tmp / "s/CXR_png/odd.png");
  CHECK_ERROR(load_datasets({"shenzhen:" + (tmp / "s").string()}),
              "odd.png: name does not end in _0 or _1");
}

TEST_CASE("folder: class names and their order") {
  TempFolder tmp;
  make_image(tmp / "d/covid/x.png");
  make_image(tmp / "d/normal/x.png");
  make_image(tmp / "d/normal/deep/y.JPG");
  write_text(tmp / "d/normal/notes.txt", "no image");
  Dataset d = load_datasets({"folder:" + (tmp / "d").string()});
  CHECK(d.classes == std::vector<std::string>{"non-COVID", "COVID-19"});
  CHECK(d.samples.size() == 3);
  CHECK(class_counts(d).at("non-COVID") == 2);
  CHECK(d.report.conflicts.empty());
  fs::rename(tmp / "d/covid", tmp / "d/abscess");
  d = load_datasets({"folder:" + (tmp / "d").string()});
  CHECK(d.classes == std::vector<std::string>{"normal", "abscess"});
  d = load_datasets({"folder:" + (tmp / "d/abscess").string() + ",class=mine"});
  CHECK(d.classes == std::vector<std::string>{"mine"});
}

TEST_CASE("manifest: written and read back") {
  TempFolder tmp;
  make_covid(tmp / "covid");
  make_nih(tmp / "nih");
  make_image(tmp / "masks/a.png", 255);
  write_text(tmp / "masks/index.csv", "image,mask\ncovid/images/a.png,masks/a.png\n");
  const Dataset d =
      load_datasets({"covid:" + (tmp / "covid").string() + ",masks=" + (tmp / "masks").string(),
                     "nih:" + (tmp / "nih").string()});
  write_manifest(d, tmp / "manifest.csv");
  const Dataset back = load_datasets({"manifest:" + (tmp / "manifest.csv").string()});
  REQUIRE(back.samples.size() == d.samples.size());
  CHECK(back.classes == d.classes);
  for (size_t i = 0; i < d.samples.size(); ++i) {
    CHECK(back.samples[i].patient == d.samples[i].patient);
    CHECK(back.samples[i].source == d.samples[i].source);
    CHECK(back.samples[i].label == d.samples[i].label);
    CHECK(back.samples[i].view == d.samples[i].view);
    CHECK(back.samples[i].age == d.samples[i].age);
    CHECK(back.samples[i].masks.size() == d.samples[i].masks.size());
    CHECK(fs::equivalent(back.samples[i].image, d.samples[i].image));
  }
  CHECK(dataset_checksum(back) == dataset_checksum(d));
  make_image(tmp / "nih/images_001/images/1_0.png", 3, 40, 40);
  CHECK(dataset_checksum(back) !=
        dataset_checksum(load_datasets({"covid:" + (tmp / "covid").string()})));
}

TEST_CASE("manifest: rules") {
  TempFolder tmp;
  make_image(tmp / "a.png");
  const std::string spec = "manifest:" + (tmp / "m.csv").string();
  const auto with = [&](const std::string& text) {
    write_text(tmp / "m.csv", text);
    return load_datasets({spec});
  };
  CHECK(with("path,label\na.png,x\n").samples[0].patient.rfind("manifest/file ", 0) == 0);
  CHECK_ERROR(with("path\na.png\n"), "column 'label' is missing");
  CHECK_ERROR(with("path,label,colour\na.png,x,red\n"), "column 'colour' is unknown");
  CHECK_ERROR(with("path,label\n,x\n"), "m.csv:2: path is empty");
  CHECK_ERROR(with("path,label,mask\na.png,x,gone.png\n"), "m.csv:2: mask");
  CHECK_ERROR(with("path,label\nb.png,x\n"), "no image is left");
  CHECK_ERROR(with("path,label\nb.png,x\n"), "1 read; removed: 1 by 'file present' (the first is ");
}

TEST_CASE("sources: one file through two sources is kept once; identical files are found") {
  TempFolder tmp;
  make_image(tmp / "d/a/1.png", 1);
  make_image(tmp / "d/a/2.png", 1);
  make_image(tmp / "d/b/3.png", 2);
  const std::string spec = "folder:" + (tmp / "d").string();
  const Dataset d = load_datasets({spec, spec});
  CHECK(d.samples.size() == 3);
  CHECK(removed(d, "file not read by an earlier source") == 3);
  const auto same = identical_files(d);
  REQUIRE(same.size() == 1);
  CHECK(same[0].size() == 2);
}

TEST_CASE("sources: what two of them say of one file must not contradict") {
  TempFolder tmp;
  make_image(tmp / "a.png");
  make_image(tmp / "b.png");
  const auto manifest = [&](const char* name, const std::string& text) {
    write_text(tmp / name, text);
    return "manifest:" + (tmp / name).string();
  };
  const std::string first = manifest("1.csv", "path,label\na.png,normal\nb.png,ill\n"),
                    reversed = manifest("2.csv", "path,label\na.png,ill\n"),
                    same = manifest("3.csv", "path,label\na.png,No Finding\nb.png,ill\n");
  CHECK_ERROR(load_datasets({first, reversed}), "a.png: two labels, 'normal' by manifest:");
  const Dataset d = load_datasets({first, same});
  CHECK(d.samples.size() == 2);
  CHECK(d.report.sources[0].kept == 2);
  CHECK(d.report.sources[1].kept == 0);
  const std::string a = manifest("4.csv", "path,label:A,label:B\na.png,1,0\nb.png,0,\n"),
                    b = manifest("5.csv", "path,label:A,label:B\na.png,1,1\n");
  CHECK_ERROR(load_datasets({a, b}), "two labels of finding B, 0 by manifest:");
  const std::string c = manifest("6.csv", "path,label:C\na.png,1\n");
  CHECK_ERROR(load_datasets({a, c}), "findings of several tables belong in one manifest");
  CHECK(load_datasets({a, a}).samples.size() == 2);
}

TEST_CASE("specifications: grammar, unknown kinds and keys") {
  const SourceSpec s = parse_source_spec("nih:/data/a,b c/x,count=3,seed=1");
  CHECK(s.kind == "nih");
  CHECK(s.path == "/data/a,b c/x");
  CHECK(s.options.at("count") == "3");
  CHECK_ERROR(parse_source_spec("/just/a/path"), "a source is written kind:PATH");
  CHECK_ERROR(parse_source_spec("nih:"), "a source is written kind:PATH");
  CHECK_ERROR(parse_source_spec("nih:p,seed=1,seed=2"), "option seed is given twice");
  CHECK_ERROR(load_datasets({"nhi:/x"}), "'nhi' is no kind of source; known: chexpert, covid");
  CHECK_ERROR(load_datasets({}), "no source is given");
  TempFolder tmp;
  const std::string p = tmp.path().string();
  CHECK_ERROR(load_datasets({"nih:" + p + ",colour=red"}), "unknown option 'colour'");
  CHECK_ERROR(load_datasets({"nih:" + p + ",count=-1"}), "not a whole number");
  CHECK_ERROR(load_datasets({"covid:" + p + ",finding=x"}), "must be one of covid, all");
  CHECK_ERROR(load_datasets({"nih:" + p + "/none"}), "no such folder");
  CHECK_ERROR(load_datasets({"covid:" + p}), "metadata.csv: cannot be read");
  write_text(tmp / "metadata.csv", "patientid,finding\n1,COVID-19\n");
  CHECK_ERROR(load_datasets({"covid:" + p}), "column 'view' is missing");
}

TEST_CASE("unreadable files are removed or fatal, by choice, and named") {
  TempFolder tmp;
  make_image(tmp / "d/a/good.png");
  make_image(tmp / "d/b/also.png");
  write_text(tmp / "d/a/bad.png", "not an image");
  write_text(tmp / "d/a/zero.jpg", "");
  Dataset d = load_datasets({"folder:" + (tmp / "d").string()});
  CHECK_ERROR(remove_unusable(d, inspect_dataset(d), true),
              "bad.png: no image of a format that is read");
  d = load_datasets({"folder:" + (tmp / "d").string()});
  remove_unusable(d, inspect_dataset(d, {.threads = 3}), false);
  CHECK(d.samples.size() == 2);
  REQUIRE(removed(d, "readable file") == 2);
  const FilterRule& rule = d.report.rules[d.report.rules.size() - 2];
  CHECK(contains(rule.files[0], "bad.png"));
  CHECK(contains(rule.files[1], "zero.jpg: file is empty"));
}

TEST_CASE("exclude list") {
  TempFolder tmp;
  make_image(tmp / "d/a/1.png");
  make_image(tmp / "d/a/2.png");
  write_text(tmp / "leave_out.txt", "2.png\n\n");
  const std::string spec =
      "folder:" + (tmp / "d").string() + ",exclude=" + (tmp / "leave_out.txt").string();
  const Dataset d = load_datasets({spec});
  CHECK(d.samples.size() == 1);
  CHECK(removed(d, "not on the exclude list") == 1);
}
