// Irvin J et al.: CheXpert, AAAI 2019. train.csv's Path begins with the name of the folder the
// archive unpacks to ("CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg").
#include <algorithm>

#include "data/multilabel.h"
#include "data/readers/finding_labels.h"
#include "data/readers/readers.h"
#include "engine/tensor/error.h"

namespace thorax::readers {
namespace fs = std::filesystem;
namespace {

// The table's findings, in its order.
const std::vector<std::string> kFindings{"No Finding",       "Enlarged Cardiomediastinum",
                                         "Cardiomegaly",     "Lung Opacity",
                                         "Lung Lesion",      "Edema",
                                         "Consolidation",    "Pneumonia",
                                         "Atelectasis",      "Pneumothorax",
                                         "Pleural Effusion", "Pleural Other",
                                         "Fracture",         "Support Devices"};

// ".../patient00001/study1/..." -> "patient00001"
std::string patient_of(const fs::path& path) {
  for (const fs::path& part : path)
    if (part.string().rfind("patient", 0) == 0) return part.string();
  return {};
}

}  // namespace

Dataset read_chexpert(const SourceSpec& spec) {
  Options options(spec);
  SampleCollector collect(spec, options, "optional");
  const bool all_findings = options.choice("finding", "none", {"none", "all"}) == "all";
  const std::string table_name = options.text("table", "train.csv");
  const double min_age = options.number("min_age").value_or(19);
  FindingLabels labels(spec, options, false);
  options.finish();
  require_folder(spec.kind, spec.path);

  fs::path root = spec.path;
  if (!fs::exists(root / table_name))
    for (const char* name : {"CheXpert-v1.0-small", "CheXpert-v1.0"})
      if (fs::exists(spec.path / name / table_name)) root = spec.path / name;
  const CsvTable table = CsvTable::read(root / table_name);
  std::vector<int> columns;  // of the findings
  if (labels.several())
    for (const std::string& name : labels.choose(kFindings)) columns.push_back(table.column(name));
  const int path = table.column("Path"), age = table.column("Age"),
            frontal = table.column("Frontal/Lateral"), view = table.column("AP/PA"),
            no_finding = table.column("No Finding");

  const std::string rule_view = "frontal view";
  const std::string rule_finding = "No Finding";
  const std::string rule_age = min_age == 19 ? "age > 18" : fmt::format("age >= {}", min_age);
  collect.declare(rule_view);
  const bool one_finding = !all_findings && !labels.several();
  if (one_finding) collect.declare(rule_finding);
  collect.declare(rule_age);
  if (labels.several()) collect.declare(kRuleKnown);
  for (int64_t r = 0; r < table.rows(); ++r) {
    collect.count_row();
    const fs::path stated = table.at(r, path);
    const std::string name = stated.string();
    THORAX_CHECK(!name.empty(), "[data] {}: Path is empty", table.where(r));
    if (!collect.passes(rule_view, table.at(r, frontal) == "Frontal", name)) continue;
    const bool normal =
        parse_number(table.at(r, no_finding), table.where(r), "No Finding").value_or(0) == 1.0;
    if (one_finding && !collect.passes(rule_finding, normal, name)) continue;
    Sample s;
    s.age = collect.age(table.at(r, age), table.where(r));
    if (!collect.passes(rule_age, min_age <= 0 || (s.age && *s.age >= min_age), name)) continue;
    // The stated path is below the folder's parent; below the folder itself once renamed.
    fs::path inside;
    for (auto part = std::next(stated.begin()); part != stated.end(); ++part) inside /= *part;
    std::error_code code;  // a name that is too long is of no file
    s.image = fs::exists(root / inside, code) ? root / inside : root.parent_path() / stated;
    s.patient = collect.patient(patient_of(stated), stated);
    if (labels.several()) {
      for (std::size_t f = 0; f < columns.size(); ++f)
        s.labels.push_back(
            labels.read(table.at(r, columns[f]), table.where(r), labels.chosen()[f]));
      if (!collect.passes(kRuleKnown, any_known(s.labels), name)) continue;
      s.finding = positive_findings(labels.chosen(), s.labels);
    } else {
      s.finding = normal ? "No Finding" : "other";
      s.class_name = "non-COVID";
    }
    s.view = table.at(r, view);
    collect.add(std::move(s));
  }
  labels.add_notes(collect);
  return labels.several() ? labelled(collect.finish(), labels) : collect.finish();
}

}  // namespace thorax::readers
