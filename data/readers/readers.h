// Shared by the readers: named rules, options, file search.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "data/csv.h"
#include "data/dataset.h"
#include "data/folder_files.h"

namespace thorax::readers {

Dataset read_covid(const SourceSpec& spec);
Dataset read_nih(const SourceSpec& spec);
Dataset read_chexpert(const SourceSpec& spec);
Dataset read_montgomery(const SourceSpec& spec);
Dataset read_shenzhen(const SourceSpec& spec);
// Of the images below `root` those that are no lung masks by reader "folder"'s rules (below masks/,
// or "x_mask.png" beside "x.png"), sorted.
std::vector<std::filesystem::path> radiographs_of(const std::filesystem::path& root,
                                                  const std::vector<std::filesystem::path>& files);
Dataset read_folder(const SourceSpec& spec);
Dataset read_manifest(const SourceSpec& spec);
Dataset read_dicom(const SourceSpec& spec);

// The options of one source. Every key must be asked for once; `finish` refuses the rest.
class Options {
 public:
  explicit Options(const SourceSpec& spec) : spec_(spec) {}
  std::string text(const std::string& key, const std::string& fallback);
  // One of `allowed`, else throws naming them.
  std::string choice(const std::string& key, const std::string& fallback,
                     const std::vector<std::string>& allowed);
  std::optional<int64_t> integer(const std::string& key);
  std::optional<double> number(const std::string& key);
  void finish() const;

 private:
  const SourceSpec& spec_;
  std::set<std::string> asked_;
};

// File names or paths to leave out, one a line; UTF-8 with or without a byte order mark, any line
// ends.
class ExcludeList {
 public:
  // Throws Error "[data] exclude=FILE: ..." when it cannot be read, is no text, or names nothing.
  explicit ExcludeList(const std::filesystem::path& file);
  // Whether the last parts of `image` are those of an entry; remembers that the entry was met.
  bool matches(const std::filesystem::path& image);
  // Remembers that there is a file of that name, wherever it lies.
  void meet(const std::filesystem::path& name);
  // Entries that no file has matched, as a note; "" when there is none. Throws Error when no entry
  // has matched at all.
  std::string unmatched() const;

 private:
  std::filesystem::path file_;
  std::map<std::string, std::vector<std::pair<std::filesystem::path, bool>>> entries_;  // by name
};

// Gathers samples of one source and counts what each rule removed.
class SampleCollector {
 public:
  // Reads the keys every kind has from `options`.
  SampleCollector(const SourceSpec& spec, Options& options, const std::string& default_mask_rule);

  const std::string& source() const { return source_; }
  void count_row() { ++rows_; }
  // Registers a rule so that it is reported even when it removes nothing. Call in the order of use.
  void declare(const std::string& rule);
  // Counts `file` under `rule` and returns false if `keep` is false.
  bool passes(const std::string& rule, bool keep, const std::string& file);
  // Counts what of a folder is not read: image files of other kinds as rows that a rule removed,
  // anything else in notes.
  void left_out(const FolderFiles& files);
  // Years from a table's field (parse_age); what is no age is counted in a note.
  std::optional<double> age(const std::string& text, const std::string& where);
  void note(const std::string& text) { notes_.push_back(text); }
  // "source/id"; an empty id makes the file its own patient.
  std::string patient(const std::string& id, const std::filesystem::path& file) const;

  // The rules common to all kinds (exclude list, named once, file present, mask present); true if
  // kept.
  bool add(Sample sample);
  // Draws `count` samples if asked to, and hands over.
  Dataset finish();

 private:
  FilterRule& rule(const std::string& name);
  void draw();
  void keep_classes();

  SourceSpec spec_;
  std::string source_;
  std::string class_override_;
  std::string mask_rule_;
  MaskRule mask_values_;
  OrganMasks organs_;
  std::optional<int64_t> count_;
  int64_t seed_ = 0;
  std::string positive_;
  std::vector<std::string> classes_;  // those that are kept; empty: all
  std::optional<ExcludeList> excluded_;
  std::set<std::string> seen_;
  int64_t odd_ages_ = 0;
  std::string first_odd_age_;
  int64_t rows_ = 0;
  std::vector<Sample> samples_;
  std::vector<FilterRule> rules_;
  std::vector<std::string> notes_;
};

// Applies organs=... to one sample with masks: its one mask is a label map, or some of the organs
// whose masks the reader has found are used. Throws Error "[data] KIND: organs=...".
void state_organs(Sample& sample, const OrganMasks& stated, const std::string& kind);
// Adds mask files of one organ.
void add_organ(Sample& sample, const std::string& name,
               const std::vector<std::filesystem::path>& files);

// Throws "[data] KIND: FOLDER: rule" unless it is a directory.
void require_folder(const std::string& kind, const std::filesystem::path& folder);
// A finite number, or nothing for an empty field; throws naming `where` and `column` otherwise.
std::optional<double> parse_number(const std::string& text, const std::string& where,
                                   const std::string& column);
// Years from "58", "58.5", "058Y", "011M", "007D" (DICOM's age strings) or "90+", which counts as
// 90; nothing for anything else.
std::optional<double> parse_age(const std::string& text);

}  // namespace thorax::readers
