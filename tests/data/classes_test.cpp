// Which class is positive: stated or known by name, never guessed.
#include "data/classes.h"

#include "data/encode.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

Dataset of_classes(const std::vector<std::string>& names, const std::string& stated = "") {
  Dataset d;
  for (const std::string& name : names) d.samples.emplace_back().class_name = name;
  d.stated_positive = stated;
  assign_labels(d);
  return d;
}

// A folder of class folders with one image each.
std::string folder_of(const TempFolder& tmp, const std::vector<std::string>& classes) {
  for (const std::string& name : classes) {
    fs::create_directories(tmp / "d" / name);
    save_image(tmp / "d" / name / (name + ".png"), ImageU8(4, 4, 1, 9));
  }
  return "folder:" + (tmp / "d").string();
}

}  // namespace

TEST_CASE("classes: negative names become non-COVID only where no third class stands beside them") {
  const Dataset two = of_classes({"normal", "healthy", "covid"});
  CHECK(two.classes == std::vector<std::string>{"non-COVID", "COVID-19"});
  CHECK(two.report.notes == std::vector<std::string>{"class covid is read as COVID-19",
                                                     "class healthy, normal is read as non-COVID"});
  const Dataset four = of_classes({"normal", "non-covid", "pneumonia", "covid19"});
  CHECK(four.classes == std::vector<std::string>{"non-covid", "normal", "COVID-19", "pneumonia"});
}

TEST_CASE("classes: the positive one of two follows from names that mean something") {
  using Names = std::vector<std::string>;
  const std::vector<std::pair<Names, Names>> known = {
      {{"no", "COVID-19"}, {"non-COVID", "COVID-19"}},
      {{"abnormal", "clear"}, {"clear", "abnormal"}},
      {{"no", "yes"}, {"no", "yes"}},
      {{"1", "0"}, {"0", "1"}},
      {{"True", "False"}, {"False", "True"}},
      {{"pneumonia", "zebra"}, {"zebra", "pneumonia"}},  // only the positive side is known
      {{"abscess", "Normal"}, {"Normal", "abscess"}},    // only the negative side is known
      {{"TB", "no TB"}, {"no TB", "TB"}},
      {{"PNEUMONIA", "NORMAL"}, {"NORMAL", "PNEUMONIA"}},
      {{"sick", "healthy"}, {"healthy", "sick"}},
      {{"Tuberculosis", "Control"}, {"Control", "Tuberculosis"}},
      {{"disease", "none"}, {"none", "disease"}},
      {{"covid negative", "covid positive"}, {"non-COVID", "COVID-19"}},
      {{"not ill", "ill"}, {"not ill", "ill"}},
  };
  for (const auto& [given, wanted] : known) {
    CAPTURE(given[0]);
    const Dataset d = of_classes(given);
    CHECK(d.classes == wanted);
    CHECK(d.positive == wanted[1]);
    CHECK(classifier_problem(d).empty());
    for (const Sample& s : d.samples)
      CHECK(s.class_name == d.classes[static_cast<size_t>(s.label)]);
  }
}

TEST_CASE("classes: where neither or both names are known, somebody must say it") {
  for (const auto& [a, b] : {std::pair<const char*, const char*>{"left", "right"},
                             {"COVID-19", "pneumonia"},
                             {"normal", "healthy"}}) {
    const Dataset d = of_classes({a, b});
    CHECK(d.positive.empty());
    const std::string problem = classifier_problem(d);
    CHECK(contains(problem, std::string(a) + " (1 images)"));
    CHECK(contains(problem, std::string(b) + " (1 images)"));
    CHECK(contains(problem, "positive=NAME"));
    for (const char* stated : {a, b}) {
      const Dataset said = of_classes({a, b}, stated);
      CHECK(said.positive == stated);
      CHECK(said.classes.back() == stated);
      CHECK(classifier_problem(said).empty());
    }
  }
  // What is stated wins over the names.
  CHECK(of_classes({"normal", "covid"}, "normal").positive == "non-COVID");
  CHECK_ERROR(of_classes({"a", "b"}, "c"), "positive=c: no image has that class; classes: a, b");
}

TEST_CASE("classes: one, three, or images without any are told with their numbers and a remedy") {
  CHECK(contains(classifier_problem(of_classes({"a"})), "two classes, the data has 1: a"));
  const Dataset three = of_classes({"c", "a", "normal"});
  CHECK(three.classes == std::vector<std::string>{"normal", "a", "c"});
  CHECK(classifier_problem(three).empty());
  Dataset d = of_classes({"covid", "covid", ""});
  CHECK(contains(classifier_problem(d), "1 of 3 have none"));
}

TEST_CASE("classes: names that a line of text or a reader cannot tell apart are refused") {
  TempFolder tmp;
  CHECK_ERROR(load_datasets({folder_of(tmp, {"Normal", "ill", "normal"})}),
              "'Normal' and 'normal' are two classes whose names differ only in the case");
  TempFolder odd;
  CHECK_ERROR(load_datasets({folder_of(odd, {"a\nb", "c"})}),
              "the class 'a\\x0ab': its name holds a control character; rename it");
  TempFolder table;
  save_image(table / "a.png", ImageU8(4, 4, 1, 9));
  write_text(table / "m.csv", "path,label:None,label:Edema\na.png,1,0\n");
  CHECK_ERROR(load_datasets({"manifest:" + (table / "m.csv").string()}),
              "the finding 'None': is called like the verdict of an image without a finding");
  // Of one class an image it is a class like others, and so are names that differ in punctuation.
  TempFolder fine;
  CHECK(load_datasets({folder_of(fine, {"ER+", "ER-", "none"})}).classes.size() == 3);
}

TEST_CASE("classes: positive= of a source, and what write_manifest keeps of it") {
  TempFolder tmp;
  const std::string spec = folder_of(tmp, {"left", "right"});
  CHECK(load_datasets({spec}).positive.empty());
  const Dataset d = load_datasets({spec + ",positive=LEFT"});
  CHECK(d.classes == std::vector<std::string>{"right", "left"});
  write_manifest(d, tmp / "m.csv");
  const std::string manifest = "manifest:" + (tmp / "m.csv").string();
  const Dataset back = load_datasets({manifest});
  CHECK(back.classes == d.classes);
  CHECK(back.positive == "left");
  CHECK(dataset_checksum(back) == dataset_checksum(d));
  CHECK(dataset_checksum(load_datasets({spec + ",positive=right"})) != dataset_checksum(d));
  CHECK_ERROR(load_datasets({spec + ",positive=left", manifest + ",positive=right"}),
              "two sources state different positive classes: left and right");
  write_text(tmp / "two.csv",
             "path,label,positive\nd/left/left.png,left,left\nd/right/right.png,right,right\n");
  CHECK_ERROR(load_datasets({"manifest:" + (tmp / "two.csv").string()}),
              "two.csv:2 and " + (tmp / "two.csv").string() + ":3: two positive classes");
}

TEST_CASE("classes: classes=A,B keeps those of several, counted by a rule") {
  TempFolder tmp;
  const std::string spec = folder_of(tmp, {"normal", "pneumonia", "covid"});
  const Dataset two = load_datasets({spec + ",classes=Normal,pneumonia"});
  CHECK(two.classes == std::vector<std::string>{"normal", "pneumonia"});
  CHECK(two.report.rules.back().name == "class is Normal or pneumonia");
  CHECK(two.report.rules.back().removed == 1);
  CHECK(load_datasets({spec + ",classes=normal,covid,positive=covid"}).positive == "COVID-19");
  CHECK_ERROR(load_datasets({spec + ",classes=normal,sarcoma"}),
              "no image has the class 'sarcoma'; classes of " + (tmp / "d").string() +
                  ": covid, normal, pneumonia");
}

TEST_CASE("classes: another set's order is taken over, if its classes are the same") {
  Dataset d = of_classes({"left", "right"});
  order_classes(d, {"right", "left"}, "--external");
  CHECK(d.positive == "left");
  CHECK(d.samples[0].label == 1);
  CHECK_ERROR(order_classes(d, {"left", "up"}, "--external"),
              "--external has the classes right, left; wanted are left, up");
}
