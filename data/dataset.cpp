#include "data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

#include "data/classes.h"
#include "data/csv.h"
#include "data/decode.h"
#include "data/image_place.h"
#include "data/multilabel.h"
#include "data/organs.h"
#include "data/readers/readers.h"
#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace thorax {
namespace fs = std::filesystem;
namespace {

bool is_option(const std::string& part) {
  const size_t equals = part.find('=');
  return equals != std::string::npos && equals > 0 &&
         std::all_of(part.begin(), part.begin() + static_cast<ptrdiff_t>(equals),
                     [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

void append(Dataset& all, Dataset one) {
  if (all.report.sources.empty()) all.multilabel = one.multilabel;
  THORAX_CHECK(
      all.multilabel == one.multilabel,
      "[data] {} gives each image one class, {} several findings; read all alike: "
      "labels=multi of chexpert and nih, or a manifest's columns label:NAME, gives several "
      "(--task multilabel asks all for it)",
      (one.multilabel ? all : one).report.sources[0].path,
      (one.multilabel ? one : all).report.sources[0].path);
  if (!one.stated_positive.empty()) {
    THORAX_CHECK(
        all.stated_positive.empty() || same_class(all.stated_positive, one.stated_positive),
        "[data] two sources state different positive classes: {} and {}", all.stated_positive,
        one.stated_positive);
    all.stated_positive = one.stated_positive;
  }
  const auto join = [](auto& to, auto& from) {
    std::move(from.begin(), from.end(), std::back_inserter(to));
  };
  join(all.report.sources, one.report.sources);
  join(all.report.rules, one.report.rules);
  join(all.report.notes, one.report.notes);
  if (one.multilabel)
    join_findings(all, std::move(one));
  else
    join(all.samples, one.samples);
}

}  // namespace

OnPatientConflict parse_on_patient_conflict(const std::string& text) {
  if (text == "report") return OnPatientConflict::report;
  if (text == "error") return OnPatientConflict::error;
  if (text == "drop") return OnPatientConflict::drop;
  fail("[data] '{}': on a patient in two classes one can report, error or drop", text);
}

SourceSpec parse_source_spec(const std::string& text) {
  SourceSpec spec;
  const size_t colon = text.find(':');
  THORAX_CHECK(colon != std::string::npos && colon > 0 && colon + 1 < text.size(),
               "[data] '{}': a source is written kind:PATH[,key=value...]", text);
  spec.kind = text.substr(0, colon);
  std::vector<std::string> parts(1);
  for (size_t i = colon + 1; i < text.size(); ++i) {
    if (text[i] == ',') {
      parts.emplace_back();
    } else {
      if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == ',') ++i;
      parts.back() += text[i];
    }
  }
  // A path and a value may hold commas: an option begins where a part looks like key=value.
  std::string path = parts[0];
  std::string* value = &path;
  for (size_t i = 1; i < parts.size(); ++i) {
    if (!is_option(parts[i])) {
      *value += "," + parts[i];
      continue;
    }
    const size_t equals = parts[i].find('=');
    const auto [place, fresh] =
        spec.options.emplace(parts[i].substr(0, equals), parts[i].substr(equals + 1));
    THORAX_CHECK(fresh, "[data] '{}': option {} is given twice", text, place->first);
    value = &place->second;
  }
  THORAX_CHECK(!path.empty(), "[data] '{}': the path is empty", text);
  spec.path = path;
  return spec;
}

Dataset load_dataset(const SourceSpec& spec) {
  using Reader = Dataset (*)(const SourceSpec&);
  static const std::map<std::string, Reader> readers = {
      {"covid", readers::read_covid},       {"nih", readers::read_nih},
      {"chexpert", readers::read_chexpert}, {"montgomery", readers::read_montgomery},
      {"shenzhen", readers::read_shenzhen}, {"folder", readers::read_folder},
      {"manifest", readers::read_manifest}, {"dicom", readers::read_dicom},
  };
  const auto found = readers.find(spec.kind);
  if (found == readers.end()) {
    std::vector<std::string> kinds;
    for (const auto& [kind, reader] : readers) kinds.push_back(kind);
    fail("[data] '{}' is no kind of source; known: {}", spec.kind, fmt::join(kinds, ", "));
  }
  const bool several = spec.kind == "nih" || spec.kind == "chexpert" || spec.kind == "manifest";
  THORAX_CHECK(
      several || !spec.options.contains("labels"),
      "[data] {}: labels={}: this kind names one class an image; several findings an image "
      "(--task multilabel) come from chexpert, nih, or a manifest with columns label:NAME",
      spec.kind, spec.options.at("labels"));
  return found->second(spec);
}

namespace {

// Images without a patient count as a patient of their own, by their place below PATH. Two sources
// of one name may have such places in common: as many parts of PATH as tell them apart are added.
void separate_file_patients(std::vector<Sample>& samples, const std::vector<size_t>& source_of,
                            const std::vector<SourceSpec>& specs) {
  std::map<std::string, size_t> owner;
  for (size_t i = 0; i < samples.size(); ++i) {
    Sample& s = samples[i];
    const std::string mark = s.source + "/file ";
    if (!s.patient.starts_with(mark)) continue;
    fs::path rest = fs::weakly_canonical(specs[source_of[i]].path);
    for (auto place = owner.emplace(s.patient, source_of[i]).first;
         place->second != source_of[i] && rest.has_filename();
         place = owner.emplace(s.patient, source_of[i]).first) {
      s.patient = mark + rest.filename().string() + "/" + s.patient.substr(mark.size());
      rest = rest.parent_path();
    }
  }
}

// One file through two sources: what they say of it must not contradict. A source that knows
// nothing of it may come second.
void check_same_labels(const Sample& first, const std::string& first_source, const Sample& second,
                       const std::string& second_source, const std::vector<std::string>& classes) {
  // "normal" and "No Finding" are one class once the data are joined.
  const auto ill = [](const Sample& sample) {
    return meaning_of(sample.class_name) != Meaning::negative;
  };
  const bool classes_differ = !first.class_name.empty() && !second.class_name.empty() &&
                              !same_class(first.class_name, second.class_name) &&
                              (ill(first) || ill(second));
  THORAX_CHECK(
      !classes_differ,
      "[data] {}: two labels, '{}' by {} and '{}' by {}; correct one, or leave the file out "
      "of one of them (exclude=FILE)",
      first.image.string(), first.class_name, first_source, second.class_name, second_source);
  for (size_t c = 0; c < std::min(first.labels.size(), second.labels.size()); ++c)
    THORAX_CHECK(first.labels[c] == second.labels[c],
                 "[data] {}: two labels of finding {}, {} by {} and {} by {} (-1: not known); "
                 "correct one, or leave the file out of one of them (exclude=FILE); findings of "
                 "several tables belong in one manifest",
                 first.image.string(), classes[c], first.labels[c], first_source, second.labels[c],
                 second_source);
}

std::string what_rules_removed(const FilterReport& report) {
  std::vector<std::string> parts;
  int64_t rows = 0;
  for (const SourceCount& source : report.sources) rows += source.rows;
  for (const FilterRule& rule : report.rules)
    if (rule.removed > 0)
      parts.push_back(
          fmt::format("{} by '{}' (the first is {})", rule.removed, rule.name, rule.files.front()));
  std::string text = fmt::format("{} read", rows);
  if (!parts.empty()) text += fmt::format("; removed: {}", fmt::join(parts, ", "));
  for (const std::string& note : report.notes) text += "; " + note;
  return text;
}

}  // namespace

Dataset load_datasets(const std::vector<std::string>& texts, OnPatientConflict on_conflict,
                      ClassTask task) {
  THORAX_CHECK(!texts.empty(), "[data] no source is given");
  Dataset all;
  std::vector<SourceSpec> specs;
  std::vector<size_t> source_of;  // of each sample
  for (const std::string& text : texts) {
    specs.push_back(parse_source_spec(text));
    if (task == ClassTask::multilabel) specs.back().options.emplace("labels", "multi");
    append(all, load_dataset(specs.back()));
    source_of.resize(all.samples.size(), specs.size() - 1);
  }

  // The same file through two sources (or one source given twice) would leak between folds.
  FilterRule twice{"all", "file not read by an earlier source", 0, {}};
  std::map<std::string, size_t> seen;  // places in `kept`
  std::vector<Sample> kept;
  std::vector<size_t> kept_source;
  for (size_t i = 0; i < all.samples.size(); ++i) {
    Sample& s = all.samples[i];
    std::error_code code;
    const fs::path canonical = fs::weakly_canonical(s.image, code);
    const auto [place, fresh] = seen.emplace((code ? s.image : canonical).string(), kept.size());
    if (fresh) {
      kept.push_back(std::move(s));
      kept_source.push_back(source_of[i]);
    } else {
      check_same_labels(kept[place->second], texts[kept_source[place->second]], s,
                        texts[source_of[i]], all.classes);
      --all.report.sources[source_of[i]].kept;  // each source has one entry
      ++twice.removed;
      twice.files.push_back(s.image.string());
    }
  }
  all.samples = std::move(kept);
  if (twice.removed) all.report.rules.push_back(twice);
  separate_file_patients(all.samples, kept_source, specs);

  THORAX_CHECK(!all.samples.empty(), "[data] no image is left after the rules of {}: {}",
               fmt::join(texts, " "), what_rules_removed(all.report));
  // Class names first: "normal" of one source and "non-COVID" of another are no conflict.
  assign_labels(all);
  check_class_names(all);
  check_patients(all, on_conflict);
  assign_labels(all);
  const std::string problem = task_problem(all, task);
  THORAX_CHECK(problem.empty(), "[data] {}", problem);
  assign_ids(all);
  unify_organs(all);
  return all;
}

void assign_ids(Dataset& dataset) {
  std::vector<std::size_t> open(dataset.samples.size());
  std::iota(open.begin(), open.end(), 0);
  std::vector<fs::path> rest;  // what of the path is not in the id yet
  for (Sample& s : dataset.samples) {
    s.id = s.source + "/" + s.image.filename().string();
    rest.push_back(s.image.parent_path());
  }
  while (!open.empty()) {
    std::map<std::string, int> count;
    for (const std::size_t i : open) ++count[dataset.samples[i].id];
    std::vector<std::size_t> still;
    for (const std::size_t i : open) {
      Sample& s = dataset.samples[i];
      if (count[s.id] == 1 || rest[i].filename().empty()) continue;
      s.id = s.source + "/" + rest[i].filename().string() + s.id.substr(s.source.size());
      rest[i] = rest[i].parent_path();
      still.push_back(i);
    }
    open = std::move(still);
  }
}

void check_patients(Dataset& dataset, OnPatientConflict on_conflict) {
  std::map<std::string, std::map<std::string, int64_t>> classes_of;
  dataset.report.conflicts.clear();
  if (dataset.multilabel) return;
  for (const Sample& s : dataset.samples) ++classes_of[s.patient][s.class_name];
  for (const auto& [patient, classes] : classes_of)
    if (classes.size() > 1) dataset.report.conflicts.push_back({patient, classes});
  if (dataset.report.conflicts.empty() || on_conflict == OnPatientConflict::report) return;
  std::vector<std::string> names;
  for (const PatientConflict& c : dataset.report.conflicts) names.push_back(c.patient);
  if (on_conflict == OnPatientConflict::error)
    fail(
        "[data] {} patients have images in more than one class: {}; --on-patient-conflict drop "
        "leaves them out, report keeps them",
        names.size(), fmt::join(names, ", "));
  FilterRule rule{"all", "patient in one class only", 0, {}};
  std::erase_if(dataset.samples, [&](const Sample& s) {
    if (!std::binary_search(names.begin(), names.end(), s.patient)) return false;
    ++rule.removed;
    rule.files.push_back(s.image.string());
    return true;
  });
  THORAX_CHECK(!dataset.samples.empty(),
               "[data] no image is left: all {} are of {} patients with images in more than one "
               "class, as {}; --on-patient-conflict report keeps them",
               rule.removed, names.size(), names.front());
  dataset.report.rules.push_back(rule);
}

std::vector<std::vector<std::string>> identical_files(const Dataset& dataset) {
  std::map<uintmax_t, std::vector<std::string>> by_size;
  for (const Sample& s : dataset.samples) {
    std::error_code code;
    const uintmax_t size = fs::file_size(image_file(s.image), code);
    if (!code) by_size[size].push_back(s.image.string());
  }
  std::vector<std::vector<std::string>> out;
  for (const auto& [size, files] : by_size) {
    if (files.size() < 2) continue;
    std::map<std::pair<uint64_t, uint64_t>, std::vector<std::string>> by_content;
    for (const std::string& file : files) {
      const ImagePlace place = image_place(file);
      const auto bytes = read_bytes(place.file, DecodeLimits{}.max_file_bytes);
      const XXH128_hash_t h = XXH3_128bits(bytes.data(), bytes.size());
      // Two frames of one file are two images.
      by_content[{h.high64 + static_cast<uint64_t>(place.frame), h.low64}].push_back(file);
    }
    for (auto& [hash, group] : by_content)
      if (group.size() > 1) out.push_back(std::move(group));
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::map<std::string, int64_t> class_counts(const Dataset& dataset) {
  std::map<std::string, int64_t> out;
  for (const Sample& s : dataset.samples) ++out[s.class_name];
  return out;
}

namespace {

// Masks of several organs: the statement of label maps, a column for each organ with masks of its
// own.
void add_organ_columns(const Dataset& dataset, std::vector<std::string>& columns) {
  const std::vector<std::string> names = organ_names(dataset);
  if (names.empty()) return;
  columns.emplace_back("organs");
  if (organs_are_labels(dataset)) return;
  for (const std::string& name : names) columns.push_back("mask_" + name);
}

void add_organ_fields(const Dataset& dataset, const Sample& s,
                      const std::function<std::string(const fs::path&)>& place,
                      std::vector<std::string>& fields) {
  const std::vector<std::string> names = organ_names(dataset);
  if (names.empty()) return;
  fields.push_back(s.organs.label_map ? to_string(s.organs) : "");
  if (organs_are_labels(dataset)) return;
  for (std::size_t k = 0; k < names.size(); ++k) {
    std::vector<std::string> files;
    if (!s.organs.label_map && !s.organs.empty())
      for (const std::size_t f : s.organs.organs[k].files) files.push_back(place(s.masks[f]));
    fields.push_back(fmt::format("{}", fmt::join(files, ";")));
  }
}

// Whether the order of the classes does not follow from their names alone.
bool needs_statement(const Dataset& dataset) {
  if (dataset.multilabel) return false;
  Dataset by_name;
  for (const std::string& name : dataset.classes) by_name.samples.emplace_back().class_name = name;
  assign_labels(by_name);
  return by_name.positive != dataset.positive;
}

}  // namespace

void write_manifest(const Dataset& dataset, const fs::path& path) {
  const fs::path base = fs::weakly_canonical(path).parent_path();
  const auto place = [&](const fs::path& file) {
    const fs::path whole = fs::weakly_canonical(file);
    const fs::path inside = whole.lexically_relative(base);
    return (inside.empty() || *inside.begin() == ".." ? whole : inside).string();
  };
  const bool state = needs_statement(dataset);
  std::vector<std::string> columns{"path"};
  if (dataset.multilabel)
    for (const std::string& finding : dataset.classes) columns.push_back("label:" + finding);
  else
    columns.emplace_back("label");
  for (const char* column : {"patient", "mask", "mask_values", "source", "finding", "view", "age"})
    columns.emplace_back(column);
  if (state) columns.emplace_back("positive");
  add_organ_columns(dataset, columns);
  std::string text = csv_line(columns);
  for (const Sample& s : dataset.samples) {
    std::vector<std::string> masks;
    if (s.organs.empty() || s.organs.label_map)
      for (const fs::path& m : s.masks) masks.push_back(place(m));
    std::vector<std::string> fields{place(s.image)};
    if (dataset.multilabel)
      for (const std::int8_t label : s.labels)
        fields.push_back(label == kUnknownLabel ? "" : std::to_string(label));
    else
      fields.push_back(s.class_name);
    fields.insert(fields.end(),
                  {s.patient, fmt::format("{}", fmt::join(masks, ";")),
                   s.masks.empty() || s.organs.label_map ? "" : to_string(s.mask_rule), s.source,
                   s.finding, s.view, s.age ? fmt::format("{}", *s.age) : ""});
    if (state) fields.push_back(dataset.positive);
    add_organ_fields(dataset, s, place, fields);
    text += csv_line(fields);
  }
  atomic_write(path, text);
}

std::string dataset_checksum(const Dataset& dataset) {
  std::vector<std::string> lines;
  for (const Sample& s : dataset.samples) {
    std::string line =
        s.source + '\0' + s.image.filename().string() + '\0' + s.patient + '\0' + s.class_name;
    if (dataset.multilabel) line += '\0' + label_text(s.labels);
    std::error_code code;
    line += '\0' + std::to_string(fs::file_size(image_file(s.image), code));
    for (const fs::path& m : s.masks)
      line += '\0' + m.filename().string() + '\0' + std::to_string(fs::file_size(m, code));
    if (!s.organs.empty()) line += '\0' + to_string(s.organs);
    lines.push_back(std::move(line));
  }
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const std::string& line : lines) all += line + '\n';
  if (needs_statement(dataset)) all += dataset.positive;
  if (dataset.multilabel) all += fmt::format("{}", fmt::join(dataset.classes, "\n"));
  return fmt::format("{:016x}", XXH3_64bits(all.data(), all.size()));
}

}  // namespace thorax
