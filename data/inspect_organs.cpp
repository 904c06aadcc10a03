// What the mask files of several organs hold: data/inspect.h.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "data/inspect.h"
#include "data/organs.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

using Group = std::vector<size_t>;  // samples

int64_t size_of(const MaskValues& file) {
  return int64_t{file.height} * file.width;
}

void count(MaskSet& set, const Sample& sample, int64_t inside, int64_t all, int64_t& total_inside,
           int64_t& total) {
  ++set.images;
  if (inside == 0) set.empty.push_back(sample.image.string());
  if (inside >= all) set.full.push_back(sample.image.string());
  total_inside += inside;
  total += all;
}

void check_labels(const MaskValues& file, const OrganMasks& organs) {
  require_labels({{}, file.top, file.lossy, file.colour, {}}, file.file);
  for (const auto& entry : file.pixels) {
    const auto value = entry.first;  // clang 14 captures no structured binding
    const bool named = value == 0 ||
                       std::binary_search(organs.outside.begin(), organs.outside.end(), value) ||
                       std::any_of(organs.organs.begin(), organs.organs.end(), [&](const auto& o) {
                         return std::binary_search(o.values.begin(), o.values.end(), value);
                       });
    if (!named) fail_unnamed(file.file, value, organs);
  }
}

// A set for each organ of label maps.
std::vector<MaskSet> label_sets(const Dataset& dataset, const std::string& source,
                                const Group& group,
                                const std::vector<std::vector<MaskValues>>& opened) {
  const OrganMasks& organs = dataset.samples[group.front()].organs;
  std::vector<MaskSet> sets;
  for (const OrganMask& organ : organs.organs) {
    MaskSet set;
    set.source = source;
    set.organ = organ.name;
    set.rule = fmt::format("label map, value {}", fmt::join(organ.values, "+"));
    int64_t inside = 0, all = 0;
    try {
      for (const size_t i : group) {
        const MaskValues& file = opened[i].front();
        check_labels(file, organs);
        int64_t area = 0;
        for (const int value : organ.values)
          if (const auto found = file.pixels.find(value); found != file.pixels.end())
            area += found->second;
        count(set, dataset.samples[i], area, size_of(file), inside, all);
      }
    } catch (const Error& e) {
      MaskSet doubt;
      doubt.source = source;
      doubt.images = static_cast<int64_t>(group.size());
      doubt.doubt = e.what();
      return {doubt};
    }
    set.share = static_cast<double>(inside) / static_cast<double>(all);
    sets.push_back(std::move(set));
  }
  return sets;
}

// One organ with masks of its own.
MaskSet file_set(Dataset& dataset, const std::string& source, const Group& group, size_t organ,
                 const std::vector<std::vector<MaskValues>>& opened) {
  const auto masks_of = [&](size_t i) -> OrganMask& {
    return dataset.samples[i].organs.organs[organ];
  };
  MaskSet set;
  set.source = source;
  set.organ = masks_of(group.front()).name;
  std::vector<MaskValues> files;
  for (const size_t i : group)
    for (const size_t f : masks_of(i).files) files.push_back(opened[i][f]);
  MaskRule rule = masks_of(group.front()).rule;
  try {
    if (rule.kind == MaskRule::Kind::automatic) rule = decide_mask_rule(files);
  } catch (const Error& e) {
    set.doubt = e.what();
    set.images = static_cast<int64_t>(group.size());
    return set;
  }
  set.rule = rule_in_words(rule, files);
  int64_t inside = 0, all = 0;
  for (const size_t i : group) {
    masks_of(i).rule = rule;
    int64_t area = 0;
    bool reversed = false;
    for (const size_t f : masks_of(i).files) {
      area += pixels_inside(opened[i][f], rule);
      reversed = reversed || corners_inside(opened[i][f], rule);
    }
    if (reversed) set.reversed.push_back(dataset.samples[i].image.string());
    // Files of one organ that overlap count their common pixels twice here.
    count(set, dataset.samples[i], std::min(area, size_of(opened[i].front())),
          size_of(opened[i].front()), inside, all);
  }
  set.share = static_cast<double>(inside) / static_cast<double>(all);
  return set;
}

}  // namespace

std::vector<MaskSet> organ_mask_sets(Dataset& dataset,
                                     const std::vector<std::vector<MaskValues>>& opened) {
  // What follows one rule: a source, what its labels are called, what its option said.
  std::map<std::tuple<std::string, std::string, std::string>, Group> groups;
  for (size_t i = 0; i < opened.size(); ++i) {
    const Sample& s = dataset.samples[i];
    if (!opened[i].empty() && !s.organs.empty())
      groups[{s.source, s.organs.label_map ? to_string(s.organs) : "", to_string(s.mask_rule)}]
          .push_back(i);
  }
  std::vector<MaskSet> sets;
  for (const auto& [key, group] : groups) {
    const Sample& first = dataset.samples[group.front()];
    const std::string& source = std::get<0>(key);
    if (first.organs.label_map) {
      for (MaskSet& set : label_sets(dataset, source, group, opened))
        sets.push_back(std::move(set));
      continue;
    }
    for (size_t k = 0; k < first.organs.organs.size(); ++k)
      sets.push_back(file_set(dataset, source, group, k, opened));
  }
  return sets;
}

}  // namespace thorax
