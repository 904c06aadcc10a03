#include "data/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "data/classes.h"
#include "data/organs.h"
#include "engine/io/json_text.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

Spread spread_of(std::vector<double> values) {
  Spread s;
  if (values.empty()) return s;
  std::sort(values.begin(), values.end());
  s.least = values.front();
  s.most = values.back();
  const size_t n = values.size();
  s.median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  // The sum of whole numbers is exact: 64.0 of images that are all 64 wide.
  double sum = 0;
  for (const double v : values) sum += v;
  s.mean = sum / static_cast<double>(n);
  return s;
}

void add_files(const Inspection& inspected, DatasetSummary& out) {
  static const char* const kChannels[] = {"", "gray", "gray+alpha", "RGB", "RGBA"};
  std::vector<double> widths, heights;
  for (size_t i = 0; i < inspected.facts.size(); ++i) {
    const ImageInfo& f = inspected.facts[i].info;
    if (f.width == 0) continue;  // not decoded
    const char* channels = f.format == "jpeg" && f.channels == 4 ? "CMYK"
                           : !f.palette.empty()                  ? "palette"
                                                                 : kChannels[f.channels];
    ++out.kinds[fmt::format("{} {} {} bit", f.format, channels, f.bits)];
    widths.push_back(f.width);
    heights.push_back(f.height);
  }
  out.width = spread_of(std::move(widths));
  out.height = spread_of(std::move(heights));
  out.unreadable = inspected.problems();
  out.inspection = inspection_lines(inspected);
  out.masks = inspected.masks;
}

std::string named(const std::string& text) {
  return text.empty() ? "(none)" : text;
}

nlohmann::json json_of(const Spread& s) {
  return {{"min", s.least}, {"median", s.median}, {"mean", s.mean}, {"max", s.most}};
}

// File names from a table may hold any bytes; JSON must be UTF-8.
std::string utf8(const std::string& text) {
  return to_json_text(text);
}

std::vector<std::string> utf8(const std::vector<std::string>& texts) {
  std::vector<std::string> out;
  for (const std::string& t : texts) out.push_back(utf8(t));
  return out;
}

std::map<std::string, int64_t> utf8(const std::map<std::string, int64_t>& counts) {
  std::map<std::string, int64_t> out;
  for (const auto& [name, count] : counts) out[utf8(name)] += count;
  return out;
}

void print_counts(std::string& text, const std::string& title,
                  const std::map<std::string, int64_t>& counts) {
  std::vector<std::pair<int64_t, std::string>> order;
  for (const auto& [name, count] : counts) order.emplace_back(-count, name);
  std::sort(order.begin(), order.end());
  text += title + "\n";
  for (const auto& [count, name] : order) text += fmt::format("  {:>7}  {}\n", -count, name);
}

}  // namespace

DatasetSummary summarize(const Dataset& dataset, const Inspection* inspected) {
  DatasetSummary out;
  out.report = dataset.report;
  out.images = static_cast<int64_t>(dataset.samples.size());
  std::map<std::string, ClassSummary> classes;
  std::map<std::string, std::set<std::string>> class_patients;
  std::map<std::string, int64_t> images_of;
  std::vector<double> ages;
  for (const Sample& s : dataset.samples) {
    ClassSummary& c = classes[s.class_name];
    ++c.images;
    ++c.sources[s.source];
    c.with_mask += !s.masks.empty();
    out.with_mask += !s.masks.empty();
    class_patients[s.class_name].insert(s.patient);
    ++images_of[s.patient];
    if (dataset.multilabel) {
      for (size_t f = 0; f < s.labels.size(); ++f)
        if (s.labels[f] == kPositiveLabel) ++out.findings[dataset.classes[f]];
    } else {
      ++out.findings[named(s.finding)];
    }
    ++out.views[named(s.view)];
    if (s.age) ages.push_back(*s.age);
  }
  if (dataset.multilabel) {
    out.labels = finding_counts(dataset);
    out.labels_table = findings_table(dataset);
    classes.clear();
  }
  std::vector<std::string> names = dataset.classes;
  if (classes.count("")) names.push_back("");
  for (const std::string& name : names) {
    if (!classes.count(name)) continue;
    ClassSummary c = classes[name];
    c.name = name.empty() ? "(no class)" : name;
    c.patients = static_cast<int64_t>(class_patients[name].size());
    out.classes.push_back(std::move(c));
  }
  out.patients = static_cast<int64_t>(images_of.size());
  for (const auto& [patient, images] : images_of) ++out.patients_by_images[images];
  out.age_known = static_cast<int64_t>(ages.size());
  out.age = spread_of(std::move(ages));
  out.names_checksum = dataset_checksum(dataset);
  out.organs = organ_names(dataset);
  out.positive = dataset.positive;
  out.classifier_problem = classifier_problem(dataset);
  if (inspected) {
    add_files(*inspected, out);
    out.identical = identical_files(dataset);
  }
  return out;
}

std::string describe_text(const DatasetSummary& s) {
  std::string text = fmt::format(
      "{} images of {} patients, {} with {}mask; checksum of names and sizes {}\n\n", s.images,
      s.patients, s.with_mask, s.organs.empty() ? "lung " : "", s.names_checksum);
  if (!s.organs.empty()) text += fmt::format("Organs: {}\n\n", fmt::join(s.organs, ", "));
  text += "Sources\n";
  for (const SourceCount& c : s.report.sources)
    text += fmt::format("  {:<12} {:>7} read, {:>7} kept  {}\n", c.source, c.rows, c.kept, c.path);
  text += "\nWhat each rule removed, in order\n";
  for (const FilterRule& r : s.report.rules)
    text += fmt::format("  {:<12} {:>7}  {}\n", r.source, r.removed, r.name);
  text += s.labels.empty() ? "\nClasses\n" : "\nSeveral findings an image\n" + s.labels_table;
  for (const ClassSummary& c : s.classes) {
    std::vector<std::string> parts;
    for (const auto& [source, count] : c.sources)
      parts.push_back(fmt::format("{} {}", source, count));
    text +=
        fmt::format("  {:<16} {:>7} images ({:.1f} %), {} patients, {} with mask; {}\n", c.name,
                    c.images, 100.0 * static_cast<double>(c.images) / static_cast<double>(s.images),
                    c.patients, c.with_mask, fmt::join(parts, ", "));
  }
  text += s.classifier_problem.empty()
              ? (s.positive.empty() ? "\n" : fmt::format("  positive class: {}\n\n", s.positive))
              : fmt::format("  no classifier can be trained on this: {}\n\n", s.classifier_problem);
  print_counts(text, "Findings", s.findings);
  print_counts(text, "Views", s.views);
  if (!s.kinds.empty()) {
    print_counts(text, "Files", s.kinds);
    text += fmt::format(
        "Size: width {:.0f} to {:.0f} (median {:.0f}), height {:.0f} to {:.0f} (median {:.0f})\n",
        s.width.least, s.width.most, s.width.median, s.height.least, s.height.most,
        s.height.median);
  }
  if (s.age_known)
    text += fmt::format("Age: {:.0f} to {:.0f}, median {:.0f}, known for {}\n", s.age.least,
                        s.age.most, s.age.median, s.age_known);
  text += "Images a patient:";
  for (const auto& [images, patients] : s.patients_by_images)
    text += fmt::format(" {}x{}", patients, images);
  text += " (patients x images)\n";
  if (!s.report.conflicts.empty()) {
    text += fmt::format("\nWARNING: {} patients have images in more than one class\n",
                        s.report.conflicts.size());
    for (const PatientConflict& c : s.report.conflicts) {
      std::vector<std::string> parts;
      for (const auto& [name, count] : c.images_per_class)
        parts.push_back(fmt::format("{} {}", name, count));
      text += fmt::format("  {}: {}\n", c.patient, fmt::join(parts, ", "));
    }
  }
  if (!s.identical.empty()) {
    text += fmt::format("\nWARNING: {} groups of files hold the same bytes\n", s.identical.size());
    for (const auto& group : s.identical) text += fmt::format("  {}\n", fmt::join(group, " = "));
  }
  if (!s.unreadable.empty()) {
    text += fmt::format("\nWARNING: {} files cannot be read\n", s.unreadable.size());
    for (const std::string& e : s.unreadable) text += "  " + e + "\n";
  }
  if (!s.inspection.empty()) text += "\n";
  for (const std::string& line : s.inspection) text += line + "\n";
  for (const std::string& note : s.report.notes) text += "note: " + note + "\n";
  return text;
}

nlohmann::json describe_json(const DatasetSummary& s) {
  nlohmann::json out = {
      {"images", s.images},
      {"patients", s.patients},
      {"with_mask", s.with_mask},
      {"names_checksum", s.names_checksum},
      {"findings", utf8(s.findings)},
      {"views", utf8(s.views)},
      {"files", s.kinds},
      {"positive", s.positive.empty() ? nlohmann::json() : nlohmann::json(utf8(s.positive))},
      {"classifier_problem", s.classifier_problem.empty()
                                 ? nlohmann::json()
                                 : nlohmann::json(utf8(s.classifier_problem))},
      {"unreadable", utf8(s.unreadable)},
      {"inspection", utf8(s.inspection)},
      {"notes", utf8(s.report.notes)}};
  for (const char* list : {"sources", "rules", "classes", "conflicts", "identical"})
    out[list] = nlohmann::json::array();
  out["masks"] = nlohmann::json::array();
  for (const MaskSet& set : s.masks) {
    nlohmann::json entry{{"source", set.source},
                         {"organ", utf8(set.organ.empty() ? kLungs : set.organ)},
                         {"images", set.images}};
    if (set.doubt.empty())
      entry.update({{"rule", utf8(set.rule)},
                    {"present", set.images - static_cast<int64_t>(set.empty.size())},
                    {"empty", set.empty.size()},
                    {"full", set.full.size()},
                    {"share_of_pixels", set.share}});
    else
      entry["doubt"] = utf8(set.doubt);
    out["masks"].push_back(std::move(entry));
  }
  for (const SourceCount& c : s.report.sources)
    out["sources"].push_back(
        {{"source", c.source}, {"path", utf8(c.path)}, {"rows", c.rows}, {"kept", c.kept}});
  for (const FilterRule& r : s.report.rules)
    out["rules"].push_back(
        {{"source", r.source}, {"name", r.name}, {"removed", r.removed}, {"files", utf8(r.files)}});
  for (const ClassSummary& c : s.classes)
    out["classes"].push_back({{"name", utf8(c.name)},
                              {"images", c.images},
                              {"patients", c.patients},
                              {"with_mask", c.with_mask},
                              {"sources", c.sources}});
  for (const FindingCount& c : s.labels)
    out["labels"].push_back({{"finding", utf8(c.name)},
                             {"positive", c.positive},
                             {"negative", c.negative},
                             {"unknown", c.unknown},
                             {"positive_patients", c.positive_patients},
                             {"negative_patients", c.negative_patients}});
  for (const PatientConflict& c : s.report.conflicts)
    out["conflicts"].push_back(
        {{"patient", utf8(c.patient)}, {"images", utf8(c.images_per_class)}});
  for (const auto& group : s.identical) out["identical"].push_back(utf8(group));
  if (!s.kinds.empty()) {
    out["width"] = json_of(s.width);
    out["height"] = json_of(s.height);
  }
  if (s.age_known) {
    out["age"] = json_of(s.age);
    out["age"]["known"] = s.age_known;
  }
  for (const auto& [images, patients] : s.patients_by_images)
    out["patients_by_images"][std::to_string(images)] = patients;
  return out;
}

}  // namespace thorax
