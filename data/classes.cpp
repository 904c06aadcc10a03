#include "data/classes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "data/multilabel.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

// Lower case letters and digits only: "COVID-19", "covid 19" and "Covid19" are one word. Letters
// beyond ASCII stay as they are, and so does a name that is nothing but punctuation: "+" is not
// "-".
std::string folded(const std::string& name) {
  std::string out;
  for (const unsigned char c : name)
    if (std::isalnum(c) || c >= 0x80) out += static_cast<char>(std::tolower(c));
  return out.empty() ? name : out;
}

// Findings and words for "something was found".
bool is_positive_word(const std::string& word) {
  static const std::set<std::string> words = {"covid",
                                              "covid19",
                                              "sarscov2",
                                              "positive",
                                              "pos",
                                              "abnormal",
                                              "abnormals",
                                              "abnormality",
                                              "disease",
                                              "diseased",
                                              "pathology",
                                              "pathological",
                                              "pneumonia",
                                              "tuberculosis",
                                              "tb",
                                              "sick",
                                              "ill",
                                              "illness",
                                              "infected",
                                              "infection",
                                              "case",
                                              "cases",
                                              "yes",
                                              "true",
                                              "1",
                                              "present",
                                              "finding",
                                              "findings",
                                              "lesion",
                                              "cancer",
                                              "malignant",
                                              "tumor",
                                              "tumour",
                                              "nodule",
                                              "mass",
                                              "effusion",
                                              "opacity",
                                              "lungopacity",
                                              "cardiomegaly",
                                              "pneumothorax",
                                              "edema",
                                              "oedema",
                                              "atelectasis",
                                              "consolidation",
                                              "fibrosis",
                                              "emphysema",
                                              "viralpneumonia",
                                              "bacterialpneumonia"};
  return words.contains(word);
}

bool is_negative_word(const std::string& word) {
  static const std::set<std::string> words = {
      "no",       "negative", "neg",   "normal", "normals", "healthy", "clear",  "control",
      "controls", "0",        "false", "none",   "absent",  "well",    "benign", "unremarkable"};
  return words.contains(word);
}

bool means_covid(const std::string& name) {
  const std::string f = folded(name);
  return f == "covid" || f == "covid19" || f == "covidpositive" || f == "covid19positive";
}

// `two`: COVID-19 stands beside negative classes only, which are then the study's "non-COVID".
// Beside pneumonia, say, "normal" stays a class of its own.
std::string study_name(const std::string& name, bool two) {
  if (means_covid(name)) return "COVID-19";
  return two && meaning_of(name) == Meaning::negative ? "non-COVID" : name;
}

std::string counted(const Dataset& dataset) {
  std::vector<std::string> parts;
  const auto counts = class_counts(dataset);
  for (const std::string& name : dataset.classes)
    parts.push_back(fmt::format("{} ({} images)", name, counts.at(name)));
  return fmt::format("{}", fmt::join(parts, ", "));
}

void set_labels(Dataset& dataset) {
  const std::vector<std::string>& names = dataset.classes;
  for (Sample& s : dataset.samples) {
    const auto found = std::find(names.begin(), names.end(), s.class_name);
    s.label = found == names.end() ? -1 : static_cast<int>(found - names.begin());
  }
}

}  // namespace

Meaning meaning_of(const std::string& class_name) {
  const std::string word = folded(class_name);
  if (is_positive_word(word)) return Meaning::positive;
  if (is_negative_word(word)) return Meaning::negative;
  // "non-COVID", "no TB", "not ill"; "COVID negative", "TB positive".
  for (const char* prefix : {"non", "not", "no", "without"})
    if (word.starts_with(prefix) && is_positive_word(word.substr(std::string(prefix).size())))
      return Meaning::negative;
  for (const auto& [suffix, meaning] :
       {std::pair<std::string, Meaning>{"negative", Meaning::negative},
        {"positive", Meaning::positive},
        {"free", Meaning::negative}})
    if (word.ends_with(suffix) && is_positive_word(word.substr(0, word.size() - suffix.size())))
      return meaning;
  return Meaning::unknown;
}

bool same_class(const std::string& a, const std::string& b) {
  return folded(a) == folded(b) || (means_covid(a) && means_covid(b));
}

void assign_labels(Dataset& dataset) {
  if (dataset.multilabel) return;  // the order of the findings is the readers'
  bool covid = false, two = true;
  for (const Sample& s : dataset.samples) {
    if (s.class_name.empty()) continue;
    if (means_covid(s.class_name))
      covid = true;
    else
      two = two && meaning_of(s.class_name) == Meaning::negative;
  }
  two = two && covid;
  std::set<std::string> present;
  std::map<std::string, std::set<std::string>> read_as;
  for (Sample& s : dataset.samples) {
    if (s.class_name.empty()) continue;
    const std::string name = study_name(s.class_name, two);
    if (name != s.class_name) read_as[name].insert(s.class_name);
    s.class_name = name;
    present.insert(name);
  }
  for (const auto& [name, given] : read_as)
    dataset.report.notes.push_back(
        fmt::format("class {} is read as {}", fmt::join(given, ", "), name));
  std::vector<std::string> names(present.begin(), present.end());
  std::stable_sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return (meaning_of(a) != Meaning::negative) < (meaning_of(b) != Meaning::negative);
  });
  std::string& positive = dataset.positive;
  if (!dataset.stated_positive.empty()) {
    const std::string wanted = study_name(dataset.stated_positive, two);
    const auto found = std::find_if(names.begin(), names.end(), [&](const std::string& name) {
      return same_class(name, wanted);
    });
    THORAX_CHECK(found != names.end(), "[data] positive={}: no image has that class; classes: {}",
                 dataset.stated_positive, fmt::join(names, ", "));
    THORAX_CHECK(
        names.size() <= 2,
        "[data] positive={}: only of two classes one is the positive one, the data has {}: "
        "{}; classes=A,B of a source keeps two",
        dataset.stated_positive, names.size(), fmt::join(names, ", "));
    positive = *found;
    std::rotate(found, found + 1, names.end());
  } else {
    positive.clear();
    if (names.size() == 2) {
      // Names with a known meaning stand first when they are negative; the pair is told apart when
      // the two mean different things.
      const Meaning first = meaning_of(names[0]), second = meaning_of(names[1]);
      if (first == Meaning::positive && second == Meaning::unknown) std::swap(names[0], names[1]);
      if (first != second) positive = names[1];
    }
  }
  dataset.classes = std::move(names);
  set_labels(dataset);
}

void check_class_names(const Dataset& dataset) {
  std::map<std::string, std::string> by_lower;
  std::vector<std::string> paths;
  for (const SourceCount& source : dataset.report.sources) paths.push_back(source.path);
  const std::string where = fmt::format("{}", fmt::join(paths, ", "));
  for (const std::string& name : dataset.classes) {
    const char* what = dataset.multilabel ? "finding" : "class";
    std::string lower, visible;
    bool control = false;
    for (const unsigned char c : name) {
      const bool bad = c < 0x20 || c == 0x7F;
      control = control || bad;
      visible += bad ? fmt::format("\\x{:02x}", c) : std::string(1, static_cast<char>(c));
      lower += static_cast<char>(c < 0x80 ? std::tolower(c) : c);
    }
    THORAX_CHECK(!control, "[data] {}: the {} '{}': its name holds a control character; rename it",
                 where, what, visible);
    THORAX_CHECK(!dataset.multilabel || lower != "none",
                 "[data] {}: the finding '{}': is called like the verdict of an image without a "
                 "finding; rename it, or leave it out (findings=A,B)",
                 where, name);
    const auto [other, fresh] = by_lower.emplace(lower, name);
    THORAX_CHECK(fresh,
                 "[data] {}: '{}' and '{}' are two {} whose names differ only in the case of their "
                 "letters; give both one name, or names that differ in more",
                 where, other->second, name, dataset.multilabel ? "findings" : "classes");
  }
}

void order_classes(Dataset& dataset, const std::vector<std::string>& names,
                   const std::string& what) {
  std::vector<std::string> own = dataset.classes, wanted = names;
  std::sort(own.begin(), own.end());
  std::sort(wanted.begin(), wanted.end());
  THORAX_CHECK(own == wanted, "[data] {} has the classes {}; wanted are {}", what,
               fmt::join(dataset.classes, ", "), fmt::join(names, ", "));
  dataset.classes = names;
  dataset.positive = names.size() == 2 ? names[1] : "";
  set_labels(dataset);
}

std::string classifier_problem(const Dataset& dataset) {
  if (dataset.multilabel) return multilabel_problem(dataset);
  const auto& samples = dataset.samples;
  const auto unlabelled = [](const Sample& s) { return s.class_name.empty(); };
  const auto none = std::count_if(samples.begin(), samples.end(), unlabelled);
  if (none > 0)
    return fmt::format(
        "a classifier needs a class for every image, {} of {} have none, the first is {}; "
        "class=NAME "
        "gives the images of a source one, 'folder' takes it from folders below PATH",
        none, samples.size(),
        std::find_if(samples.begin(), samples.end(), unlabelled)->image.string());
  if (dataset.classes.size() < 2)
    return fmt::format(
        "a classifier needs at least two classes, the data has {}: {}; a second source (--data) "
        "may bring "
        "the "
        "other one",
        dataset.classes.size(), fmt::join(dataset.classes, ", "));
  if (dataset.classes.size() > 2) return {};
  if (dataset.positive.empty())
    return fmt::format(
        "which of the classes is the positive one cannot be told from their names: {}; say it: "
        "--data "
        "KIND:PATH,positive=NAME",
        counted(dataset));
  return {};
}

}  // namespace thorax
