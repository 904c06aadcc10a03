// Which images there are, what they show, and what every rule removed on the way.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/class_task.h"
#include "data/decode_mask.h"
#include "data/organ_masks.h"

namespace thorax {

struct Sample {
  std::string id;  // "source/file name", unique: the same wherever the files lie (assign_ids)
  std::filesystem::path image;
  std::vector<std::filesystem::path>
      masks;                  // none, one, or two (left and right lung), merged by OR; or of organs
  MaskRule mask_rule;         // which of their values are inside; see data/inspect.h
  OrganMasks organs;          // of several organs; empty: the masks are of the lungs
  std::string patient;        // "source/id", so ids of two sources never collide
  std::string source;         // "covid", "nih", ...
  std::string finding;        // as the source words it
  std::string class_name;     // one of Dataset::classes, or empty when unlabelled
  int label = -1;             // index into Dataset::classes, -1 when unlabelled
  std::string view;           // "PA", "AP", "AP Supine", ... or empty
  std::optional<double> age;  // years
  // With several findings an image (data/multilabel.h): for each of Dataset::classes 1 (there), 0
  // (not there) or -1 (not known); class_name and label are then not set.
  std::vector<std::int8_t> labels = {};
};

// One rule and what it removed, in the order of reading.
struct FilterRule {
  std::string source;
  std::string name;
  int64_t removed = 0;
  std::vector<std::string> files;  // what was removed
};

struct SourceCount {
  std::string source;
  std::string path;
  int64_t rows = 0;  // entries read before any rule
  int64_t kept = 0;
};

struct PatientConflict {
  std::string patient;
  std::map<std::string, int64_t> images_per_class;
};

struct FilterReport {
  std::vector<SourceCount> sources;
  std::vector<FilterRule> rules;
  std::vector<PatientConflict> conflicts;  // patients with images in more than one class
  std::vector<std::string> notes;          // anything else a person should know
};

struct Dataset {
  std::vector<Sample> samples;
  std::vector<std::string> classes;  // index = label; the positive one of two is the last
  bool multilabel = false;           // classes are findings, of which an image may have several
  std::string positive;         // of two classes; empty when their names do not tell (classes.h)
  std::string stated_positive;  // as positive=NAME or a manifest says; usually empty
  FilterReport report;
};

enum class OnPatientConflict { report, error, drop };
OnPatientConflict parse_on_patient_conflict(const std::string& text);

// One "--data" argument: "kind:PATH[,key=value]...". Kinds: covid, nih, chexpert, montgomery,
// shenzhen, folder, manifest, dicom (see readers/README.md for each kind's keys). Options begin at
// the first comma that is followed by "key="; a value may hold commas ("classes=A,B"). "\\," is a
// comma of the path that would otherwise begin an option.
struct SourceSpec {
  std::string kind;
  std::filesystem::path path;
  std::map<std::string, std::string> options;
};
SourceSpec parse_source_spec(const std::string& text);

// Reads every source, joins them, orders the classes, finds files and patients that occur twice.
// With `task` multilabel every source is read with labels=multi. Throws on an unknown kind or key,
// a missing path, a bad table, sources that state different positive classes or of which only some
// have several findings an image, data that is not good for `task`, or when no image is left; then
// it says what every rule removed.
Dataset load_datasets(const std::vector<std::string>& specs,
                      OnPatientConflict on_conflict = OnPatientConflict::report,
                      ClassTask task = ClassTask::automatic);
Dataset load_dataset(const SourceSpec& spec);

// Orders classes (names that mean "not ill" first, then by name; of two, the positive one last),
// sets every label. "covid", "covid19", ... are read as "COVID-19"; beside that class, names that
// mean "not ill" are read as "non-COVID". Throws when `stated_positive` is none of two classes.
void assign_labels(Dataset& dataset);

// Sets every sample's id: the source and as many of the path's last parts as tell it from every
// other sample of that source. load_datasets does so.
void assign_ids(Dataset& dataset);

// Fills report.conflicts; `drop` removes all images of such patients (as a rule), `error` throws.
// With several findings an image there are no conflicts.
void check_patients(Dataset& dataset, OnPatientConflict on_conflict);

// Groups of two or more images whose files hold the same bytes.
std::vector<std::vector<std::string>> identical_files(const Dataset& dataset);

// Images per class, by name.
std::map<std::string, int64_t> class_counts(const Dataset& dataset);

// A manifest that reader "manifest" reads back to the same dataset. Paths relative to the
// manifest's folder where the images lie below it, else absolute. Written atomically.
void write_manifest(const Dataset& dataset, const std::filesystem::path& path);

// 16 hex digits: XXH3 over each sample's source, file name, size in bytes, patient and class, in an
// order that does not depend on where the files lie. Changes when a file is replaced by one of
// another size.
std::string dataset_checksum(const Dataset& dataset);

}  // namespace thorax
