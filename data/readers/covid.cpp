// Cohen JP, Morrison P, Dao L: COVID-19 image data collection, arXiv:2003.11597. metadata.csv has a
// row per image; CT slices and laterals are mixed in.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "data/readers/readers.h"
#include "engine/tensor/error.h"

namespace thorax::readers {
namespace fs = std::filesystem;
namespace {

// File name of an image -> its mask, from the index of a mask folder.
std::map<std::string, fs::path> read_mask_index(const fs::path& folder) {
  require_folder("covid masks", folder);
  const CsvTable table = CsvTable::read(folder / "index.csv");
  const int image = table.column("image"), mask = table.column("mask");
  std::map<std::string, fs::path> out;
  for (int64_t r = 0; r < table.rows(); ++r) {
    const std::string name = fs::path(table.at(r, image)).filename().string();
    const fs::path below_parent = fs::weakly_canonical(folder).parent_path() / table.at(r, mask);
    const fs::path place = fs::exists(below_parent) ? below_parent : folder / table.at(r, mask);
    THORAX_CHECK(out.emplace(name, place).second, "[data] {}: image '{}' has a second mask",
                 table.where(r), name);
  }
  return out;
}

// Findings have parts: "COVID-19, ARDS", or "Pneumonia/Viral/COVID-19" in later versions. Case and
// punctuation of "COVID-19" do not matter.
bool names_covid(const std::string& finding) {
  for (size_t begin = 0; begin <= finding.size();) {
    const size_t end = std::min(finding.find_first_of("/,", begin), finding.size());
    std::string word;
    for (const unsigned char c : finding.substr(begin, end - begin))
      if (std::isalnum(c)) word += static_cast<char>(std::tolower(c));
    if (word == "covid" || word.starts_with("covid19")) return true;
    begin = end + 1;
  }
  return false;
}

std::string counted(const std::map<std::string, int64_t>& findings) {
  std::vector<std::string> parts;
  for (const auto& [name, count] : findings) parts.push_back(fmt::format("{} {}", count, name));
  return parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, "; "));
}

}  // namespace

Dataset read_covid(const SourceSpec& spec) {
  Options options(spec);
  SampleCollector collect(spec, options, "optional");
  const bool all_findings = options.choice("finding", "covid", {"covid", "all"}) == "all";
  const bool all_views = options.choice("view", "frontal", {"frontal", "all"}) == "all";
  const std::string mask_folder = options.text("masks", "");
  options.finish();
  require_folder(spec.kind, spec.path);

  const CsvTable table = CsvTable::read(spec.path / "metadata.csv");
  const int patient = table.column("patientid"), finding = table.column("finding"),
            view = table.column("view"), modality = table.column("modality"),
            file = table.column("filename"), age = table.column("age");
  const int folder = table.find_column("folder");
  const auto masks =
      mask_folder.empty() ? std::map<std::string, fs::path>{} : read_mask_index(mask_folder);

  const std::string rule_modality = "modality X-ray";
  const std::string rule_view = "frontal view (PA, AP, AP Supine)";
  const std::string rule_finding = "finding names COVID-19";
  collect.declare(rule_modality);
  if (!all_views) collect.declare(rule_view);
  if (!all_findings) collect.declare(rule_finding);
  std::map<std::string, int64_t> with, without;  // findings read as COVID-19 and as another
  for (int64_t r = 0; r < table.rows(); ++r) {
    collect.count_row();
    const std::string& name = table.at(r, file);
    const std::string& v = table.at(r, view);
    const std::string& f = table.at(r, finding);
    if (!collect.passes(rule_modality, table.at(r, modality) == "X-ray", name)) continue;
    if (!all_views && !collect.passes(rule_view, v == "PA" || v == "AP" || v == "AP Supine", name))
      continue;
    const bool covid = names_covid(f);
    if (!all_findings && !collect.passes(rule_finding, covid, name)) continue;
    THORAX_CHECK(!name.empty(), "[data] {}: filename is empty", table.where(r));
    Sample s;
    const std::string sub = folder >= 0 ? table.at(r, folder) : "";
    s.image = spec.path / (sub.empty() ? "images" : sub) / name;
    s.patient = collect.patient(trimmed(table.at(r, patient)), name);
    s.finding = f;
    ++(covid ? with : without)[f];
    s.class_name = covid ? "COVID-19" : "non-COVID";
    s.view = v;
    s.age = collect.age(table.at(r, age), table.where(r));
    const auto mask = masks.find(name);
    if (mask != masks.end()) s.masks.push_back(mask->second);
    collect.add(std::move(s));
  }
  collect.note(fmt::format("{}: rows read as COVID-19: {}", collect.source(), counted(with)));
  if (all_findings)
    collect.note(fmt::format("{}: rows read as non-COVID: {}", collect.source(), counted(without)));
  return collect.finish();
}

}  // namespace thorax::readers
