#include "apps/report/claim.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "data/csv.h"
#include "data/dataset.h"
#include "engine/io/config.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Item {
  const char* part;
  const char* asks;
};

constexpr std::array<Item, 44> kItems = {{
    {"Title", "the kind of AI is named"},
    {"Abstract", "design, methods, results and conclusions in short"},
    {"Introduction", "background, intended use and clinical role"},
    {"Introduction", "aims, objectives, hypotheses"},
    {"Methods: design", "prospective or retrospective"},
    {"Methods: design", "goal of the study"},
    {"Methods: data", "sources of the data"},
    {"Methods: data", "what was included and excluded"},
    {"Methods: data", "preprocessing"},
    {"Methods: data", "how subsets were chosen"},
    {"Methods: data", "de-identification"},
    {"Methods: data", "missing data"},
    {"Methods: data", "how the images were acquired"},
    {"Methods: reference standard", "how it is defined"},
    {"Methods: reference standard", "why it was chosen"},
    {"Methods: reference standard", "who annotated"},
    {"Methods: reference standard", "how the test set was annotated"},
    {"Methods: reference standard", "agreement between and within annotators"},
    {"Methods: partitions", "how data were assigned"},
    {"Methods: partitions", "level at which they are disjoint"},
    {"Methods: test data", "intended size of the sample"},
    {"Methods: model", "full description"},
    {"Methods: model", "software and versions"},
    {"Methods: model", "initial parameters"},
    {"Methods: training", "how it was trained"},
    {"Methods: training", "how the final model was chosen"},
    {"Methods: training", "ensembling"},
    {"Methods: evaluation", "measures of performance"},
    {"Methods: evaluation", "significance and uncertainty"},
    {"Methods: evaluation", "robustness or sensitivity analysis"},
    {"Methods: evaluation", "explainability"},
    {"Methods: evaluation", "evaluation on internal data"},
    {"Methods: evaluation", "testing on external data"},
    {"Methods: evaluation", "registration of the trial"},
    {"Results: data", "numbers included and excluded"},
    {"Results: data", "characteristics of the cases in each partition"},
    {"Results: performance", "measures with their uncertainty"},
    {"Results: performance", "diagnostic performance and its precision"},
    {"Results: performance", "analysis of wrong cases"},
    {"Discussion", "limitations"},
    {"Discussion", "meaning for practice"},
    {"Other", "where the full protocol is"},
    {"Other", "availability of software, model and data"},
    {"Other", "funding and the funders' role"},
}};

// JSON as a person would write it: "name adamw, weight_decay 0.0001".
std::string spelled(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  std::vector<std::string> parts;
  if (value.is_object())
    for (const auto& [key, inner] : value.items()) parts.push_back(key + " " + spelled(inner));
  else if (value.is_array())
    for (const json& inner : value) parts.push_back(spelled(inner));
  else
    return value.dump();
  const std::string joined = fmt::format("{}", fmt::join(parts, ", "));
  return value.is_array() ? "(" + joined + ")" : joined;
}

// A value of a JSON object as text; empty when absent.
std::string text_at(const json& object, const std::string& key) {
  if (!object.is_object() || !object.contains(key) || object.at(key).is_null()) return {};
  return spelled(object.at(key));
}

const json& at(const json& object, const std::string& key) {
  static const json nothing;
  return object.is_object() && object.contains(key) ? object.at(key) : nothing;
}

std::string counts_text(const std::map<std::string, std::int64_t>& counts) {
  std::vector<std::string> parts;
  for (const auto& [name, count] : counts)
    parts.push_back(fmt::format("{} {}", name.empty() ? "(none)" : name, count));
  return fmt::format("{}", fmt::join(parts, ", "));
}

// Several findings an image.
bool multilabel(const RunFacts& f) {
  return text_at(f.config, "labels") == "multi";
}

// Of three classes or more.
bool multiclass(const RunFacts& f) {
  return text_at(at(f.config, "settings"), "task") != "segmenter" && !multilabel(f) &&
         f.class_images.size() > 2;
}

// "macro_f1" as people read it.
std::string readable(std::string name) {
  if (name == "macro_f1") return "macro F1";
  if (name == "macro_auc") return "macro AUC";
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

// "accuracy 97.56 % +- 1.20": means and deviations over the folds.
std::string measures(const json& summary, const std::vector<std::string>& names) {
  std::vector<std::string> parts;
  for (const std::string& name : names) {
    const json& mean = at(at(summary, "mean"), name);
    const json& deviation = at(at(summary, "standard_deviation"), name);
    if (!mean.is_number()) continue;
    std::string part = readable(name);
    part += fmt::format(" {:.2f} %", 100 * mean.get<double>());
    if (deviation.is_number()) part += fmt::format(" \u00B1 {:.2f}", 100 * deviation.get<double>());
    parts.push_back(part);
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

struct Specs {
  std::vector<std::string> texts, kinds, drawn;
};

Specs specs_of(const json& settings) {
  Specs specs;
  const json& data = at(settings, "data");
  if (!data.is_array()) return specs;
  for (const json& spec : data) {
    if (!spec.is_string()) continue;
    const std::string text = spec.get<std::string>();
    specs.texts.push_back(text);
    specs.kinds.push_back(text.substr(0, text.find(':')));
    if (text.find(",count=") != std::string::npos || text.find(",exclude=") != std::string::npos)
      specs.drawn.push_back(text);
  }
  return specs;
}

void answer_data(const RunFacts& f, const json& settings, std::map<int, std::string>& a) {
  const Specs specs = specs_of(settings);
  const std::set<std::string> published = {"covid", "nih", "chexpert", "montgomery", "shenzhen"};
  if (!specs.kinds.empty() &&
      std::all_of(specs.kinds.begin(), specs.kinds.end(),
                  [&](const std::string& kind) { return published.count(kind) > 0; }))
    a[5] = "retrospective: published collections of images";
  if (!specs.texts.empty()) {
    a[7] = fmt::format("{}", fmt::join(specs.texts, "; "));
    if (f.images > 0) a[7] += ". Images: " + counts_text(f.source_images);
    a[10] = specs.drawn.empty()
                ? "every image that passed the rules"
                : fmt::format("drawn or excluded by option: {}", fmt::join(specs.drawn, "; "));
  }
  const std::string segmenter = text_at(settings, "segmenter");
  std::string rules = "the rules of each source's reader (data/readers/README.md)";
  // Images of a patient may have other findings.
  const std::string conflict = multilabel(f) ? "" : text_at(settings, "on_patient_conflict");
  if (conflict == "drop") rules += "; patients with images in two classes left out";
  if (conflict == "report") rules += "; patients with images in two classes kept";
  if (!segmenter.empty())
    rules += fmt::format("; images whose lungs cover fewer than {} of 512 x 512 pixels left out",
                         text_at(settings, "min_area"));
  a[8] = rules;
  const std::string size = text_at(settings, "size");
  if (!size.empty())
    a[9] = fmt::format("gray, scaled to {0} x {0} pixels; {1}", size,
                       segmenter.empty() ? "whole image" : "lungs cut out by " + segmenter);
  const std::string on_error = text_at(settings, "on_error");
  if (!on_error.empty())
    a[12] = on_error == "skip" ? "unreadable images were left out; no other values are imputed"
                               : "an unreadable image stops the run: there was none";
  if (f.unknown_labels > 0)
    a[12] += fmt::format("; {} labels of findings are not known: they have neither loss nor figure",
                         f.unknown_labels);
  if (!f.view_images.empty() && !(f.view_images.size() == 1 && f.view_images.count("")))
    a[13] = "views: " + counts_text(f.view_images) + "; machines and exposure are not recorded";
  a[14] = text_at(settings, "task") == "segmenter" ? "lung masks as the sources give them"
          : multilabel(f) ? "the findings that the sources' tables give for each image"
                          : "the finding that the sources' tables give for each image";
  if (f.images > 0) {
    a[35] = fmt::format("included: {} images of {} patients", f.images, f.patients);
    if (!f.class_images.empty())
      a[35] += fmt::format(" ({}images: {}; patients: {})",
                           multilabel(f) ? "with the finding, of which there may be several: " : "",
                           counts_text(f.class_images), counts_text(f.class_patients));
    a[35] += "; manifest.csv lists them";
  }
  if (!f.ages.empty()) {
    double sum = 0;
    for (const double age : f.ages) sum += age;
    const auto [low, high] = std::minmax_element(f.ages.begin(), f.ages.end());
    a[36] = fmt::format(
        "age {:.0f} to {:.0f} years, mean {:.1f}, known for {} of {} images; sex and illness are "
        "not "
        "recorded; not by partition",
        *low, *high, sum / static_cast<double>(f.ages.size()), f.ages.size(), f.images);
  }
}

void answer_training(const RunFacts& f, const json& settings, std::map<int, std::string>& a) {
  const std::string task = text_at(settings, "task");
  const std::string model = text_at(at(settings, "model"), "model");
  if (!task.empty())
    a[1] = fmt::format("deep learning: convolutional network{}, {}",
                       model.empty() ? "" : " " + model, task);
  const std::string command = text_at(f.config, "command");
  if (!command.empty()) a[6] = fmt::format("model development and internal testing ({})", command);
  if (at(settings, "model").is_object())
    a[22] = fmt::format("{}; input {} pixels a side; output: one logit{}",
                        text_at(settings, "model"), text_at(settings, "size"),
                        task == "segmenter" ? " a pixel"
                        : multilabel(f)     ? " for each finding"
                        : multiclass(f)     ? " for each class"
                                            : "");
  std::string software;
  if (f.provenance.is_array() && !f.provenance.empty()) {
    const json& last = f.provenance.back();
    software = fmt::format("thorax {} (commit {}), {}, {}, on {}", text_at(last, "thorax"),
                           text_at(last, "commit"), text_at(last, "compiler"),
                           text_at(last, "system"), text_at(last, "device_name"));
  } else if (!text_at(f.config, "version").empty()) {
    software = "thorax " + text_at(f.config, "version");
  }
  if (!software.empty()) {
    a[23] = software;
    a[43] =
        software + "; checkpoints: last.safetensors and best.safetensors; data: see items 7 and 35";
  }
  if (settings.is_object()) {
    const std::string weights = text_at(settings, "weights");
    a[24] = weights.empty() ? "random, from seed " + text_at(settings, "seed")
                            : "from " + weights + "; what it lacks random, from seed " +
                                  text_at(settings, "seed");
    std::vector<std::string> parts;
    for (const char* key :
         {"epochs", "batch", "optimizer", "schedule", "augment", "class_weights", "label_smoothing",
          "sampling", "clip_norm", "norm_batches", "precision", "seed"})
      if (!text_at(settings, key).empty())
        parts.push_back(fmt::format("{} {}", key, text_at(settings, key)));
    if (!parts.empty()) a[25] = fmt::format("{}", fmt::join(parts, "; "));
    a[26] = "the weights of the last epoch: the held-out images chose nothing";
    a[27] = "none: each network is judged alone";
    if (text_at(settings, "tta") == "flip")
      a[27] += "; each image by the mean over itself and its mirror image";
  }
}

// " (65.1 to 77.9)" of a figure with an interval, else nothing.
std::string interval_text(const json& figure) {
  if (!at(figure, "low").is_number() || !at(figure, "high").is_number()) return {};
  return fmt::format(" ({:.1f} to {:.1f})", 100 * at(figure, "low").get<double>(),
                     100 * at(figure, "high").get<double>());
}

// Sensitivity and specificity of each of the summary's classes ("class", "classes") or findings.
void answer_each(const json& summary, const char* kind, const char* kinds,
                 std::map<int, std::string>& a) {
  std::map<std::string, std::string> of_each;
  const json& figures = at(summary, "figures");
  if (!figures.is_array()) return;
  for (const json& f : figures) {
    const std::string name = text_at(f, "name"), one = text_at(f, kind);
    if (one.empty() || (name != "sensitivity" && name != "specificity")) continue;
    if (!at(f, "value").is_number()) continue;
    std::string& text = of_each[one];
    text += fmt::format("{}{} {:.1f} %{}", text.empty() ? one + ": " : ", ", name,
                        100 * at(f, "value").get<double>(), interval_text(f));
  }
  std::vector<std::string> parts;
  for (const json& name : at(summary, kinds))
    if (const auto found = of_each.find(name.get<std::string>()); found != of_each.end())
      parts.push_back(found->second);
  if (!parts.empty()) a[38] = fmt::format("{}; 95 % intervals", fmt::join(parts, "; "));
}

// Of several findings an image: macro figures, each finding, and how many labels are missed.
void answer_findings(const json& summary, std::map<int, std::string>& a) {
  answer_each(summary, "finding", "findings", a);
  const json& figures = at(summary, "figures");
  if (!figures.is_array()) return;
  std::vector<std::string> parts;
  for (const json& f : figures)
    for (const auto& [name, readable_name] :
         {std::pair<const char*, const char*>{"auc", "macro AUC"},
          {"average_precision", "macro average precision"},
          {"f1", "macro F1"}})
      if (text_at(f, "of") == "macro" && text_at(f, "name") == name && at(f, "value").is_number())
        parts.push_back(fmt::format("{} {:.1f} %{}", readable_name,
                                    100 * at(f, "value").get<double>(), interval_text(f)));
  if (!parts.empty()) a[37] = fmt::format("{}; 95 % intervals", fmt::join(parts, ", "));
  a[29] = "95 % intervals by resampling patients";
  const json& micro = at(at(summary, "all"), "micro");
  if (!micro.is_object()) return;
  a[39] = fmt::format(
      "of {} positive and {} negative labels {} false negatives and {} false positives; "
      "predictions.csv of each fold names every held-out image",
      text_at(micro, "positive"), text_at(micro, "negative"), text_at(micro, "fn"),
      text_at(micro, "fp"));
}

// Of three classes or more: each against the rest, and which are taken for which.
void answer_classes(const json& summary, std::map<int, std::string>& a) {
  answer_each(summary, "class", "classes", a);
  const json& matrix = at(at(summary, "all"), "confusion");
  if (!matrix.is_array()) return;
  std::int64_t images = 0, wrong = 0, most = 0;
  std::string taken;
  for (std::size_t i = 0; i < matrix.size(); ++i)
    for (std::size_t j = 0; j < matrix[i].size(); ++j) {
      const auto count = matrix[i][j].get<std::int64_t>();
      images += count;
      if (i == j) continue;
      wrong += count;
      if (count <= most) continue;
      most = count;
      taken = fmt::format(", most often {} taken for {} ({})", spelled(summary.at("classes").at(i)),
                          spelled(summary.at("classes").at(j)), count);
    }
  a[39] = fmt::format(
      "{} of {} images wrong{}; predictions.csv of each fold names every held-out "
      "image",
      wrong, images, taken);
}

void answer_evaluation(const RunFacts& f, const json& settings, std::map<int, std::string>& a) {
  const bool segmenter = text_at(settings, "task") == "segmenter";
  const json& folds = at(f.splits, "folds");
  if (folds.is_array() && !folds.empty()) {
    const std::string kind = text_at(f.splits, "kind");
    std::vector<std::string> sizes;
    for (const json& fold : folds)
      sizes.push_back(
          fmt::format("{}/{}", at(fold, "train").size(), at(fold, "validation").size()));
    a[19] = fmt::format("{}, {} fold(s), stratified by {}, seed {}; training/held out: {}", kind,
                        folds.size(), multilabel(f) ? "all findings" : "class",
                        text_at(f.splits, "seed"), fmt::join(sizes, ", "));
    const std::string group = text_at(f.splits, "group");
    a[20] = group == "patient"
                ? "patient: no patient is on both sides (checked when the splits are read)"
                : "IMAGE ONLY: a patient may be on both sides, which flatters the result";
    a[32] = fmt::format("{} with {} fold(s)", kind, folds.size());
  }
  if (!settings.is_object()) return;
  a[28] = segmenter ? "Dice and IoU per image, threshold 0.5"
          : multilabel(f)
              ? "of each finding, macro and micro: sensitivity, specificity, PPV and F1 at "
                "threshold 0.5, AUC, average precision; calibration error, Brier score, log loss"
          : multiclass(f)
              ? "accuracy, balanced accuracy, macro F1, macro AUC; of each class against the rest "
                "sensitivity, specificity, PPV, F1, AUC; calibration error, Brier score, log loss"
              : "accuracy, sensitivity, specificity, PPV, NPV, F1, AUC, balanced accuracy, at "
                "threshold 0.5";
  if (f.summary.is_object()) {
    if (at(f.summary, "standard_deviation").is_object() && at(f.summary, "folds").is_array())
      a[29] = fmt::format("mean and sample standard deviation over {} folds",
                          at(f.summary, "folds").size());
    const std::string all = measures(
        f.summary,
        multiclass(f)
            ? std::vector<std::string>{"accuracy", "balanced_accuracy", "macro_f1", "macro_auc"}
            : std::vector<std::string>{"accuracy", "balanced_accuracy", "f1", "auc"});
    if (!all.empty()) a[37] = all;
    const std::string diagnostic =
        measures(f.summary, {"sensitivity", "specificity", "ppv", "npv"});
    if (!diagnostic.empty()) a[38] = diagnostic;
    if (multilabel(f)) answer_findings(f.summary, a);
    if (multiclass(f)) answer_classes(f.summary, a);
    const json& pooled = at(f.summary, "pooled_counts");
    if (pooled.is_object())
      a[39] = fmt::format(
          "{} false negatives and {} false positives; predictions.csv of each fold names every "
          "held-out image",
          text_at(pooled, "fn"), text_at(pooled, "fp"));
  }
  if (!f.heatmaps.empty())
    a[31] = "class activation maps of held-out images, with their share inside the lungs: " +
            f.heatmaps;
  if (f.audit.is_object()) {
    std::vector<std::string> controls;
    for (const auto& [name, evaluation] : f.audit.items())
      if (name != "headline" && name != kExternalControl) controls.push_back(name);
    a[30] = fmt::format("controls on the same folds: {}; near-duplicates across folds searched",
                        fmt::join(controls, ", "));
    if (f.audit.contains(kExternalControl))
      a[33] = "images of other sources, judged by the networks of all folds (controls.csv)";
  }
}

}  // namespace

RunFacts read_run_facts(const fs::path& run) {
  THORAX_CHECK(fs::exists(run / "config.json"), "[claim] {}: is no run (no config.json)",
               run.string());
  RunFacts facts;
  facts.config = load_json(run / "config.json");
  const auto optional = [&](const char* name, json& target) {
    if (fs::exists(run / name)) target = load_json(run / name);
  };
  optional("provenance.json", facts.provenance);
  optional("splits.json", facts.splits);
  optional("crossval/summary.json", facts.summary);
  // A classifier's has more than the folds (engine/stats/classifier_evaluation.h).
  if (facts.summary.is_object() && facts.summary.contains("cross_validation"))
    facts.summary = json(facts.summary["cross_validation"]);
  if (fs::exists(run / "manifest.csv")) {
    const CsvTable table = CsvTable::read(run / "manifest.csv");
    // One class an image, or a column for each finding.
    const std::string title = "label:";
    std::vector<std::pair<int, std::string>> findings;
    for (const std::string& column : table.columns())
      if (column.starts_with(title))
        findings.emplace_back(table.column(column), column.substr(title.size()));
    const int label = findings.empty() ? table.column("label") : -1;
    const int patient = table.find_column("patient"), source = table.find_column("source"),
              view = table.find_column("view"), age = table.find_column("age");
    std::set<std::string> patients;
    std::map<std::string, std::set<std::string>> by_class;
    for (std::int64_t row = 0; row < table.rows(); ++row) {
      std::vector<std::string> names;
      if (label >= 0) names.push_back(table.at(row, label));
      for (const auto& [column, name] : findings) {
        if (table.at(row, column) == "1") names.push_back(name);
        if (table.at(row, column).empty()) ++facts.unknown_labels;
      }
      ++facts.images;
      for (const std::string& name : names) ++facts.class_images[name];
      if (source >= 0) ++facts.source_images[table.at(row, source)];
      if (view >= 0) ++facts.view_images[table.at(row, view)];
      if (patient >= 0) {
        patients.insert(table.at(row, patient));
        for (const std::string& name : names) by_class[name].insert(table.at(row, patient));
      }
      if (age < 0 || table.at(row, age).empty()) continue;
      try {
        facts.ages.push_back(std::stod(table.at(row, age)));
      } catch (const std::exception&) {
        fail("[claim] {}: age '{}' is no number", table.where(row), table.at(row, age));
      }
    }
    facts.patients = static_cast<std::int64_t>(patients.size());
    for (const auto& [name, those] : by_class)
      facts.class_patients[name] = static_cast<std::int64_t>(those.size());
  }
  optional("audit/summary.json", facts.audit);
  if (facts.summary.is_null() && facts.audit.is_object()) {
    const json& headline = at(facts.audit, "headline");
    facts.summary =
        headline.contains("cross_validation") ? at(headline, "cross_validation") : headline;
  }
  for (const char* part : {"crossval", "comparison", "audit"})
    if (fs::exists(run / part / "heatmaps")) facts.heatmaps = std::string(part) + "/heatmaps";
  return facts;
}

Table claim_table(const RunFacts& facts) {
  const json& settings = at(facts.config, "settings");
  std::map<int, std::string> answers;
  answer_data(facts, settings, answers);
  answer_training(facts, settings, answers);
  answer_evaluation(facts, settings, answers);
  Table table;
  table.title = "CLAIM checklist, 2024 update";
  table.columns = {{"item", CellKind::integer}, {"part"}, {"asks for"}, {"answer of this run"}};
  for (std::size_t i = 0; i < kItems.size(); ++i) {
    const int number = static_cast<int>(i) + 1;
    const auto found = answers.find(number);
    table.rows.push_back({std::int64_t{number}, std::string(kItems[i].part),
                          std::string(kItems[i].asks),
                          found == answers.end() ? std::string(kNotAnswered) : found->second});
  }
  table.notes = {
      fmt::format("{} of {} items answered, in part or whole, by the run; the others are "
                  "for the authors. Numbers as in Tejani et al., Radiology: Artificial "
                  "Intelligence 2024;6(4):e240300; the wording is shortened.",
                  answers.size(), kItems.size())};
  return table;
}

}  // namespace thorax::app
