#include "data/readers/finding_labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "data/classes.h"
#include "data/multilabel.h"
#include "engine/tensor/error.h"

namespace thorax::readers {

FindingLabels::FindingLabels(const SourceSpec& spec, Options& options, bool stated)
    : kind_(spec.kind) {
  const std::string labels = options.choice("labels", "auto", {"auto", "single", "multi"});
  std::istringstream names(options.text("findings", ""));
  for (std::string name; std::getline(names, name, ',');)
    if (!trimmed(name).empty()) wanted_.push_back(trimmed(name));
  uncertain_ = options.choice("uncertain", "ignore", {"ignore", "zeros", "ones"});
  blank_ = options.choice("blank", "unknown", {"unknown", "negative"});
  several_ = labels == "multi" || (labels == "auto" && (stated || !wanted_.empty()));
  const auto refuse = [&](const std::vector<const char*>& keys, const char* why) {
    for (const char* key : keys)
      THORAX_CHECK(!spec.options.contains(key), "[data] {}: {}={}: {}", kind_, key,
                   spec.options.at(key), why);
  };
  if (several_)
    refuse({"class", "classes", "positive", "finding"},
           "is for one class an image, and the source is read as several findings an image; "
           "findings=A,B chooses findings, labels=single reads one class");
  else
    refuse({"findings", "uncertain", "blank"},
           "is for several findings an image; labels=multi (or --task multilabel) reads them");
  THORAX_CHECK(several_ || !stated,
               "[data] {}: labels=single: {} has columns label:NAME, several findings an image; "
               "leave the option out",
               kind_, spec.path.string());
}

const std::vector<std::string>& FindingLabels::choose(const std::vector<std::string>& known) {
  if (wanted_.empty()) chosen_ = known;
  for (const std::string& name : wanted_) {
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](const std::string& k) { return same_class(k, name); });
    THORAX_CHECK(found != known.end(), "[data] {}: findings={}: '{}' is none of: {}", kind_,
                 fmt::join(wanted_, ","), name, fmt::join(known, ", "));
    THORAX_CHECK(std::find(chosen_.begin(), chosen_.end(), *found) == chosen_.end(),
                 "[data] {}: findings={}: '{}' is there twice", kind_, fmt::join(wanted_, ","),
                 name);
    chosen_.push_back(*found);
  }
  return chosen_;
}

std::int8_t FindingLabels::read(const std::string& cell, const std::string& where,
                                const std::string& finding) {
  const std::string text = trimmed(cell);
  if (text.empty()) {
    ++blank_count_;
    return blank_ == "negative" ? kNegativeLabel : kUnknownLabel;
  }
  if (text == "1" || text == "1.0") return kPositiveLabel;
  if (text == "0" || text == "0.0") return kNegativeLabel;
  THORAX_CHECK(text == "-1" || text == "-1.0",
               "[data] {}: {} '{}': must be 1 (positive), 0 (negative), -1 (uncertain) or empty "
               "(not mentioned)",
               where, finding, text);
  ++uncertain_count_;
  return uncertain_ == "zeros"  ? kNegativeLabel
         : uncertain_ == "ones" ? kPositiveLabel
                                : kUnknownLabel;
}

void FindingLabels::add_notes(SampleCollector& collect) const {
  if (uncertain_count_ > 0)
    collect.note(fmt::format("{}: {} uncertain labels (-1) are read as {} (uncertain={})",
                             collect.source(), uncertain_count_,
                             uncertain_ == "zeros"  ? "negative"
                             : uncertain_ == "ones" ? "positive"
                                                    : "unknown",
                             uncertain_));
  if (blank_count_ > 0)
    collect.note(fmt::format("{}: {} empty labels are read as {} (blank={})", collect.source(),
                             blank_count_, blank_, blank_));
}

bool any_known(const std::vector<std::int8_t>& labels) {
  return std::any_of(labels.begin(), labels.end(),
                     [](std::int8_t label) { return label != kUnknownLabel; });
}

Dataset labelled(Dataset dataset, const FindingLabels& labels) {
  dataset.multilabel = true;
  dataset.classes = labels.chosen();
  return dataset;
}

}  // namespace thorax::readers
