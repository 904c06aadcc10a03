// Tables and lists as people have them: other versions of a layout, odd fields, odd line ends.
#include "data/dataset.h"
#include "data/encode.h"
#include "data/readers/readers.h"
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

bool noted(const Dataset& d, const std::string& part) {
  for (const std::string& note : d.report.notes)
    if (contains(note, part)) return true;
  return false;
}

}  // namespace

TEST_CASE("covid: findings in parts are read part by part, and said") {
  TempFolder tmp;
  std::string csv = "patientid,age,finding,view,modality,folder,filename\n";
  const std::vector<std::string> findings{"Pneumonia/Viral/COVID-19",
                                          "Pneumonia/Viral/SARS",
                                          "\"COVID-19, ARDS\"",
                                          "Pneumonia",
                                          "No Finding",
                                          "\"ARDS, COVID-19\"",
                                          "covid19"};
  for (size_t i = 0; i < findings.size(); ++i) {
    csv += fmt::format("{},50,{},PA,X-ray,images,{}.png\n", i, findings[i], i);
    make_image(tmp / "c/images" / (std::to_string(i) + ".png"));
  }
  write_text(tmp / "c/metadata.csv", csv);
  const Dataset d = load_datasets({"covid:" + (tmp / "c").string()});
  CHECK(d.samples.size() == 4);
  CHECK(removed(d, "finding names COVID-19") == 3);
  CHECK(noted(
      d, "rows read as COVID-19: 1 ARDS, COVID-19; 1 COVID-19, ARDS; 1 Pneumonia/Viral/COVID-19"));
  const Dataset all = load_datasets({"covid:" + (tmp / "c").string() + ",finding=all"});
  CHECK(class_counts(all).at("COVID-19") == 4);
  CHECK(class_counts(all).at("non-COVID") == 3);
  CHECK(noted(all, "rows read as non-COVID: 1 No Finding; 1 Pneumonia; 1 Pneumonia/Viral/SARS"));
}

TEST_CASE("nih: the table's present name, and which is read when both are there") {
  TempFolder tmp;
  const std::string header =
      "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
      "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n";
  make_image(tmp / "n/images/1.png");
  CHECK_ERROR(load_datasets({"nih:" + (tmp / "n").string()}),
              "neither Data_Entry_2017_v2020.csv nor Data_Entry_2017.csv is there");
  write_text(tmp / "n/Data_Entry_2017_v2020.csv",
             header + "1.png,No Finding,0,7,58,F,PA,10,8,1,1\n");
  CHECK(load_datasets({"nih:" + (tmp / "n").string()}).samples.at(0).patient == "nih/7");
  write_text(tmp / "n/Data_Entry_2017.csv", header + "1.png,No Finding,0,8,058Y,F,PA,10,8,1,1\n");
  const Dataset both = load_datasets({"nih:" + (tmp / "n").string()});
  CHECK(both.samples.at(0).patient == "nih/7");
  CHECK(noted(both, "Data_Entry_2017_v2020.csv is read, Data_Entry_2017.csv is not"));
}

TEST_CASE("ages: known forms are read, others are absent and counted") {
  using readers::parse_age;
  CHECK(parse_age("58") == 58.0);
  CHECK(parse_age(" 058Y ") == 58.0);
  CHECK(parse_age("006M") == 0.5);
  CHECK(parse_age("90+") == 90.0);
  CHECK(parse_age("0.5") == 0.5);
  for (const char* text : {"", "nan", "NaN", "old", "-1", "Y", "inf", "58 or so"})
    CHECK_FALSE(parse_age(text).has_value());
  TempFolder tmp;
  for (const char* name : {"a", "b", "c", "d"}) make_image(tmp / (std::string(name) + ".png"));
  write_text(tmp / "m.csv", "path,label,age\na.png,x,058Y\nb.png,x,nan\nc.png,x,90+\nd.png,x,\n");
  const Dataset d = load_datasets({"manifest:" + (tmp / "m.csv").string()});
  REQUIRE(d.samples.size() == 4);
  CHECK(d.samples[0].age == 58.0);
  CHECK_FALSE(d.samples[1].age.has_value());
  CHECK(d.samples[2].age == 90.0);
  CHECK(noted(d, "1 ages are no number of years and were left out; the first is 'nan' ("));
  CHECK(noted(d, "m.csv:3)"));
}

TEST_CASE(
    "exclude: byte order mark, line ends of three systems, paths; what names nothing is said") {
  TempFolder tmp;
  for (const char* name : {"a/1.png", "a/2.png", "b/1.png", "b/3.png"})
    make_image(tmp / "d" / name);
  const auto with = [&](const std::string& text) {
    write_text(tmp / "x.txt", text);
    return load_datasets(
        {"folder:" + (tmp / "d").string() + ",exclude=" + (tmp / "x.txt").string()});
  };
  CHECK(with("\xef\xbb\xbf"
             "2.png\r\n3.png\r\n")
            .samples.size() == 2);
  CHECK(with("2.png\r3.png").samples.size() == 2);
  CHECK(with("1.png\n").samples.size() == 2);    // a name means all files of that name
  CHECK(with("a/1.png\n").samples.size() == 3);  // a path means the files it ends
  CHECK(with("a\\1.png\n").samples.size() == 3);
  CHECK(with((tmp / "d/b/1.png").string()).samples.size() == 3);
  const Dataset some = with("1.png\nno.png\nc/2.png\n");
  CHECK(some.samples.size() == 2);
  CHECK(noted(some, "WARNING: 2 of 3 names in exclude="));
  // What is no list says so.
  write_text(tmp / "pointer.txt",
             "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n");
  CHECK_ERROR(load_datasets({"folder:" + (tmp / "d").string() +
                             ",exclude=" + (tmp / "pointer.txt").string()}),
              "pointer.txt: is a Git LFS pointer");
  CHECK_ERROR(load_datasets({"folder:" + (tmp / "d").string() + ",exclude=" + tmp.path().string()}),
              "[data] exclude=");
  CHECK(noted(some, "match no file: 'c/2.png', 'no.png'"));
  CHECK_ERROR(with("no.png\n"), "no file of the source has any of its 1 names: 'no.png'");
  CHECK_ERROR(with("\n \n"), "names no file");
  CHECK_ERROR(with(std::string("1\0.\0p\0n\0g\0", 10)), "save it as text in UTF-8");
}

TEST_CASE("manifest: an image with two labels or with none is refused with its lines") {
  TempFolder tmp;
  make_image(tmp / "a.png");
  make_image(tmp / "b.png");
  const std::string file = (tmp / "m.csv").string(), spec = "manifest:" + file;
  const auto with = [&](const std::string& text, const std::string& options = "") {
    write_text(file, text);
    return load_datasets({spec + options});
  };
  CHECK_ERROR(with("path,label\na.png,x\nb.png,y\n./a.png,y\n"),
              file + ":2 and " + file + ":4: image './a.png' has two labels, 'x' and 'y'");
  CHECK(removed(with("path,label\na.png,x\nb.png,y\na.png,X\n"), "named once") == 1);
  CHECK_ERROR(with("path,label\na.png,x\nb.png,\n"),
              file + ":3: the label is empty, as in 1 of 2 rows");
  CHECK(with("path,label\na.png,x\nb.png,\n", ",class=z").samples.size() == 2);
  // None at all: for a segmenter.
  const Dataset none = with("path,label\na.png,\nb.png,\n");
  CHECK(none.samples.at(0).label == -1);
  CHECK(noted(none, "no row has a label"));
}

TEST_CASE("specifications: a comma of the path, and commas in values") {
  const SourceSpec escaped = parse_source_spec("folder:/x/a\\,count=2,seed=3");
  CHECK(escaped.path == "/x/a,count=2");
  CHECK(escaped.options.size() == 1);
  const SourceSpec values = parse_source_spec("folder:/a,b/c,classes=A,B,positive=B");
  CHECK(values.path == "/a,b/c");
  CHECK(values.options.at("classes") == "A,B");
  CHECK(values.options.at("positive") == "B");
  TempFolder tmp;
  make_image(tmp / "a,count=2/x.png");
  CHECK(load_datasets({"folder:" + (tmp / "a\\,count=2").string()}).samples.size() == 1);
}
