#include "data/multilabel.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "data/classes.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr const char* kTaskNames[] = {"auto", "binary", "multiclass", "multilabel"};

// The place of a finding among `names`, or -1.
int place_of(const std::vector<std::string>& names, const std::string& finding) {
  for (std::size_t i = 0; i < names.size(); ++i)
    if (same_class(names[i], finding)) return static_cast<int>(i);
  return -1;
}

// Labels by the places of the findings in another list of `count`.
std::vector<std::int8_t> moved(const std::vector<std::int8_t>& labels,
                               const std::vector<int>& places, std::size_t count) {
  std::vector<std::int8_t> out(count, kUnknownLabel);
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (places[i] >= 0) out[static_cast<std::size_t>(places[i])] = labels[i];
  return out;
}

// "normal (12 images), sick (3 images)"; findings by their names alone.
std::string listed(const Dataset& dataset) {
  if (dataset.multilabel) return fmt::format("{}", fmt::join(dataset.classes, ", "));
  std::vector<std::string> parts;
  for (const auto& [name, count] : class_counts(dataset))
    parts.push_back(fmt::format("{} ({} images)", name.empty() ? "no class" : name, count));
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace

const char* name_of(ClassTask task) {
  return kTaskNames[static_cast<int>(task)];
}

std::vector<std::string> class_task_names() {
  return {std::begin(kTaskNames), std::end(kTaskNames)};
}

ClassTask parse_class_task(const std::string& text) {
  for (const ClassTask task :
       {ClassTask::automatic, ClassTask::binary, ClassTask::multiclass, ClassTask::multilabel})
    if (text == name_of(task)) return task;
  fail("[data] --task {}: must be one of {}", text, fmt::join(class_task_names(), ", "));
}

std::vector<FindingCount> finding_counts(const Dataset& dataset) {
  std::vector<FindingCount> counts;
  for (std::size_t f = 0; f < dataset.classes.size(); ++f) {
    FindingCount c;
    c.name = dataset.classes[f];
    std::set<std::string> with, without;
    for (const Sample& s : dataset.samples) {
      switch (s.labels.at(f)) {
        case kPositiveLabel:
          ++c.positive;
          with.insert(s.patient);
          break;
        case kNegativeLabel:
          ++c.negative;
          without.insert(s.patient);
          break;
        default:
          ++c.unknown;
      }
    }
    c.positive_patients = static_cast<std::int64_t>(with.size());
    c.negative_patients = static_cast<std::int64_t>(without.size());
    counts.push_back(std::move(c));
  }
  return counts;
}

std::vector<int> rarest_findings(const std::vector<Sample>& samples) {
  std::vector<std::int64_t> having(samples.empty() ? 0 : samples.front().labels.size());
  for (const Sample& s : samples)
    for (std::size_t f = 0; f < having.size(); ++f) having[f] += s.labels.at(f) == kPositiveLabel;
  std::vector<int> rarest;
  for (const Sample& s : samples) {
    int own = -1;
    for (std::size_t f = 0; f < having.size(); ++f)
      if (s.labels[f] == kPositiveLabel &&
          (own < 0 || having[f] < having[static_cast<std::size_t>(own)]))
        own = static_cast<int>(f);
    rarest.push_back(own);
  }
  return rarest;
}

std::string findings_table(const Dataset& dataset) {
  std::size_t width = 7;
  for (const std::string& name : dataset.classes) width = std::max(width, name.size());
  std::string text = fmt::format("  {:<{}}  {:>8}  {:>8}  {:>7}  patients with it\n", "finding",
                                 width, "positive", "negative", "unknown");
  for (const FindingCount& c : finding_counts(dataset))
    text += fmt::format("  {:<{}}  {:>8}  {:>8}  {:>7}  {:>8}\n", c.name, width, c.positive,
                        c.negative, c.unknown, c.positive_patients);
  return text;
}

void join_findings(Dataset& all, Dataset one) {
  std::vector<int> places;
  for (const std::string& finding : one.classes) {
    int place = place_of(all.classes, finding);
    if (place < 0) {
      place = static_cast<int>(all.classes.size());
      all.classes.push_back(finding);
    }
    places.push_back(place);
  }
  for (Sample& s : all.samples) s.labels.resize(all.classes.size(), kUnknownLabel);
  for (Sample& s : one.samples) {
    s.labels = moved(s.labels, places, all.classes.size());
    all.samples.push_back(std::move(s));
  }
}

std::vector<std::string> arrange_findings(Dataset& dataset, const std::vector<std::string>& names) {
  std::vector<int> places;
  std::vector<std::string> dropped;
  for (const std::string& finding : dataset.classes) {
    places.push_back(place_of(names, finding));
    if (places.back() < 0) dropped.push_back(finding);
  }
  for (Sample& s : dataset.samples) s.labels = moved(s.labels, places, names.size());
  dataset.classes = names;
  return dropped;
}

std::string positive_findings(const std::vector<std::string>& findings,
                              const std::vector<std::int8_t>& labels) {
  std::vector<std::string> names;
  for (std::size_t f = 0; f < findings.size(); ++f)
    if (labels[f] == kPositiveLabel) names.push_back(findings[f]);
  return fmt::format("{}", fmt::join(names, "|"));
}

std::string label_text(const std::vector<std::int8_t>& labels) {
  std::string text;
  for (const std::int8_t label : labels)
    text += label == kPositiveLabel ? '1' : label == kNegativeLabel ? '0' : '?';
  return text;
}

std::string multilabel_problem(const Dataset& dataset) {
  std::vector<std::string> one_sided;
  for (const FindingCount& c : finding_counts(dataset))
    if (c.positive == 0 || c.negative == 0)
      one_sided.push_back(fmt::format("{} ({} positive, {} negative, {} unknown)", c.name,
                                      c.positive, c.negative, c.unknown));
  if (one_sided.empty()) return {};
  return fmt::format(
      "a finding is learned from positive and negative images, and there are none of one kind for: "
      "{}; findings=A,B of a source leaves findings out, blank=negative and uncertain=zeros|ones "
      "say what empty and uncertain labels count as",
      fmt::join(one_sided, ", "));
}

ClassTask task_of(const Dataset& dataset) {
  if (dataset.multilabel) return ClassTask::multilabel;
  return dataset.classes.size() > 2 ? ClassTask::multiclass : ClassTask::binary;
}

std::string task_problem(const Dataset& dataset, ClassTask wanted) {
  const ClassTask is = task_of(dataset);
  if (wanted == ClassTask::automatic || wanted == is) return {};
  const std::string begin = fmt::format("--task {}: ", name_of(wanted));
  if (dataset.multilabel)
    return begin + fmt::format(
                       "the data has several findings an image: {}; --task multilabel (or auto) "
                       "takes it, labels=single reads one class an image where the kind has it",
                       listed(dataset));
  if (wanted == ClassTask::multilabel)
    return begin + fmt::format(
                       "the data has one class an image: {}; several findings an image come from "
                       "labels=multi of chexpert and nih, or a manifest's columns label:NAME",
                       listed(dataset));
  if (wanted == ClassTask::binary)
    return begin + fmt::format(
                       "the data has {} classes: {}; classes=A,B of a source keeps two, --task "
                       "multiclass (or auto) tells all apart",
                       dataset.classes.size(), listed(dataset));
  return begin + fmt::format(
                     "three classes or more are wanted, the data has {}: {}; --task binary (or "
                     "auto) takes two",
                     dataset.classes.size(), listed(dataset));
}

}  // namespace thorax
