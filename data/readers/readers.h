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

namespace thorax::readers {

Dataset read_covid(const SourceSpec& spec);
Dataset read_nih(const SourceSpec& spec);
Dataset read_chexpert(const SourceSpec& spec);
Dataset read_montgomery(const SourceSpec& spec);
Dataset read_shenzhen(const SourceSpec& spec);
Dataset read_folder(const SourceSpec& spec);
Dataset read_manifest(const SourceSpec& spec);

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

  SourceSpec spec_;
  std::string source_;
  std::string class_override_;
  std::string mask_rule_;
  std::optional<int64_t> count_;
  int64_t seed_ = 0;
  std::set<std::string> excluded_;
  std::set<std::string> seen_;
  int64_t rows_ = 0;
  std::vector<Sample> samples_;
  std::vector<FilterRule> rules_;
  std::vector<std::string> notes_;
};

// Regular files with an image extension (.png .jpg .jpeg, any case) directly inside, sorted by
// name.
std::vector<std::filesystem::path> images_in(const std::filesystem::path& folder);
bool has_image_extension(const std::filesystem::path& path);
// Throws "[data] KIND: FOLDER: rule" unless it is a directory.
void require_folder(const std::string& kind, const std::filesystem::path& folder);
// A finite number, or nothing for an empty field; throws naming `where` and `column` otherwise.
std::optional<double> parse_number(const std::string& text, const std::string& where,
                                   const std::string& column);

}  // namespace thorax::readers
