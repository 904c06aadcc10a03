#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "data/classes.h"
#include "data/image_place.h"
#include "data/readers/readers.h"
#include "engine/io/file_name.h"
#include "engine/tensor/error.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace thorax::readers {
namespace fs = std::filesystem;

std::string Options::text(const std::string& key, const std::string& fallback) {
  asked_.insert(key);
  const auto found = spec_.options.find(key);
  return found == spec_.options.end() ? fallback : found->second;
}

std::string Options::choice(const std::string& key, const std::string& fallback,
                            const std::vector<std::string>& allowed) {
  const std::string value = text(key, fallback);
  THORAX_CHECK(std::find(allowed.begin(), allowed.end(), value) != allowed.end(),
               "[data] {}: {}={}: must be one of {}", spec_.kind, key, value,
               fmt::join(allowed, ", "));
  return value;
}

std::optional<int64_t> Options::integer(const std::string& key) {
  const std::string value = text(key, "");
  if (value.empty()) return std::nullopt;
  int64_t out = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  THORAX_CHECK(error == std::errc() && end == value.data() + value.size() && out >= 0,
               "[data] {}: {}={}: not a whole number from 0 up", spec_.kind, key, value);
  return out;
}

std::optional<double> Options::number(const std::string& key) {
  return parse_number(text(key, ""), spec_.kind, key);
}

void Options::finish() const {
  for (const auto& [key, value] : spec_.options)
    THORAX_CHECK(asked_.count(key), "[data] {}: unknown option '{}'; known: {}", spec_.kind, key,
                 fmt::join(asked_, ", "));
}

SampleCollector::SampleCollector(const SourceSpec& spec, Options& options,
                                 const std::string& default_mask_rule)
    : spec_(spec),
      source_(options.text("source", spec.kind)),
      class_override_(options.text("class", "")),
      mask_rule_(options.choice("mask", default_mask_rule, {"required", "optional", "none"})),
      mask_values_(parse_mask_rule(options.text("mask_values", "auto"))),
      count_(options.integer("count")),
      seed_(options.integer("seed").value_or(0)) {
  FileName(source_, fmt::format("{}: source", spec.kind));
  positive_ = options.text("positive", "");
  if (const std::string organs = options.text("organs", ""); !organs.empty())
    organs_ = parse_organs(organs);
  std::istringstream names(options.text("classes", ""));
  for (std::string name; std::getline(names, name, ',');)
    if (!trimmed(name).empty()) classes_.push_back(trimmed(name));
  const std::string list = options.text("exclude", "");
  if (!list.empty()) excluded_.emplace(list);
}

FilterRule& SampleCollector::rule(const std::string& name) {
  for (FilterRule& r : rules_)
    if (r.name == name) return r;
  rules_.push_back({source_, name, 0, {}});
  return rules_.back();
}

void SampleCollector::declare(const std::string& name) {
  rule(name);
}

bool SampleCollector::passes(const std::string& name, bool keep, const std::string& file) {
  FilterRule& r = rule(name);
  if (keep) return true;
  ++r.removed;
  r.files.push_back(file);
  // What another rule removed first was named by the list all the same.
  if (excluded_) excluded_->meet(file);
  return false;
}

void SampleCollector::left_out(const FolderFiles& files) {
  for (const auto& [kind, paths] : files.unread)
    for (const fs::path& path : paths) {
      count_row();
      passes(fmt::format("image of a kind that is read, not {}", kind), false, path.string());
    }
  for (const std::string& text : left_out_notes(files)) note(source_ + ": " + text);
}

std::optional<double> SampleCollector::age(const std::string& text, const std::string& where) {
  if (trimmed(text).empty()) return std::nullopt;
  const std::optional<double> years = parse_age(text);
  if (!years && odd_ages_++ == 0) first_odd_age_ = fmt::format("'{}' ({})", trimmed(text), where);
  return years;
}

std::string SampleCollector::patient(const std::string& id, const fs::path& file) const {
  return source_ + "/" + (id.empty() ? "file " + file.filename().string() : id);
}

bool SampleCollector::add(Sample sample) {
  const std::string file = sample.image.string();
  if (excluded_ && !passes("not on the exclude list", !excluded_->matches(sample.image), file))
    return false;
  const bool first = seen_.insert(sample.image.lexically_normal().string()).second;
  if (!passes("named once", first, file)) return false;
  std::error_code code;
  if (!passes("file present", fs::is_regular_file(image_file(sample.image), code), file))
    return false;
  if (mask_rule_ == "none") sample.masks.clear();
  const bool masked = !sample.masks.empty() &&
                      std::all_of(sample.masks.begin(), sample.masks.end(),
                                  [&](const fs::path& m) { return fs::is_regular_file(m, code); });
  if (!masked) {
    sample.masks.clear();
    sample.organs = {};
  }
  if (mask_rule_ == "required" && !passes("lung mask present", masked, file)) return false;
  if (!class_override_.empty()) sample.class_name = class_override_;
  if (sample.mask_rule.kind == MaskRule::Kind::automatic) sample.mask_rule = mask_values_;
  if (!organs_.empty()) state_organs(sample, organs_, spec_.kind);
  for (OrganMask& organ : sample.organs.organs)
    if (!organ.files.empty()) organ.rule = sample.mask_rule;
  sample.source = source_;
  samples_.push_back(std::move(sample));
  return true;
}

// The N images with the smallest hash of (seed, file name): the same ones whatever else is there.
void SampleCollector::draw() {
  const auto key = [&](const Sample& s) {
    const std::string name = s.patient + "/" + s.image.filename().string();
    return XXH64(name.data(), name.size(), static_cast<XXH64_hash_t>(seed_));
  };
  std::vector<std::pair<uint64_t, size_t>> order;
  for (size_t i = 0; i < samples_.size(); ++i) order.emplace_back(key(samples_[i]), i);
  std::sort(order.begin(), order.end());
  std::vector<char> drawn(samples_.size(), 0);
  for (size_t i = 0; i < order.size() && i < static_cast<size_t>(*count_); ++i)
    drawn[order[i].second] = 1;
  const std::string name = fmt::format("random draw of {} (seed {})", *count_, seed_);
  declare(name);
  std::vector<Sample> kept;
  for (size_t i = 0; i < samples_.size(); ++i)
    if (passes(name, drawn[i], samples_[i].image.string())) kept.push_back(std::move(samples_[i]));
  if (kept.size() < static_cast<size_t>(*count_))
    note(fmt::format("{}: {} images asked for, only {} fit the rules", source_, *count_,
                     kept.size()));
  samples_ = std::move(kept);
}

// Of several classes those that were asked for.
void SampleCollector::keep_classes() {
  const auto kept = [&](const std::string& name) {
    return std::any_of(classes_.begin(), classes_.end(),
                       [&](const std::string& wanted) { return same_class(wanted, name); });
  };
  std::set<std::string> present;
  for (const Sample& s : samples_) present.insert(s.class_name);
  for (const std::string& wanted : classes_)
    THORAX_CHECK(std::any_of(present.begin(), present.end(),
                             [&](const std::string& name) { return same_class(wanted, name); }),
                 "[data] {}: classes={}: no image has the class '{}'; classes of {}: {}",
                 spec_.kind, fmt::join(classes_, ","), wanted, spec_.path.string(),
                 fmt::join(present, ", "));
  const std::string rule_name = fmt::format("class is {}", fmt::join(classes_, " or "));
  declare(rule_name);
  std::erase_if(samples_, [&](const Sample& s) {
    return !passes(rule_name, kept(s.class_name), s.image.string());
  });
}

Dataset SampleCollector::finish() {
  if (!classes_.empty()) keep_classes();
  if (count_) draw();
  if (odd_ages_ > 0)
    note(fmt::format("{}: {} ages are no number of years and were left out; the first is {}",
                     source_, odd_ages_, first_odd_age_));
  if (excluded_)
    if (const std::string text = excluded_->unmatched(); !text.empty()) note(source_ + ": " + text);
  Dataset out;
  out.stated_positive = positive_;
  out.report.sources.push_back(
      {source_, spec_.path.string(), rows_, static_cast<int64_t>(samples_.size())});
  out.report.rules = std::move(rules_);
  out.report.notes = std::move(notes_);
  out.samples = std::move(samples_);
  return out;
}

void require_folder(const std::string& kind, const fs::path& folder) {
  std::error_code code;
  THORAX_CHECK(fs::exists(folder, code), "[data] {}: {}: no such folder", kind, folder.string());
  THORAX_CHECK(fs::is_directory(folder, code), "[data] {}: {}: not a folder", kind,
               folder.string());
}

}  // namespace thorax::readers
