#include "engine/train/splits.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "engine/io/checksum.h"
#include "engine/io/config.h"
#include "engine/io/json_text.h"
#include "engine/runtime/philox.h"
#include "engine/tensor/error.h"
#include "engine/train/label_stratification.h"

namespace thorax {
namespace {

using nlohmann::json;

struct Group {
  std::string name;
  std::vector<std::int64_t> counts;  // samples by class; with findings 2 f + 1: there, 2 f: not
  std::int64_t samples = 0;
};

bool has_findings(const std::vector<SplitItem>& samples) {
  return !samples.empty() && !samples.front().labels.empty();
}

int class_count(const std::vector<SplitItem>& samples) {
  int classes = 0;
  for (const SplitItem& sample : samples) {
    THORAX_CHECK(sample.label >= 0 && sample.label < 10000,
                 "[splits] sample '{}' has class {}; classes count from 0", sample.id,
                 sample.label);
    classes = std::max(classes, sample.label + 1);
  }
  return classes;
}

const std::string& group_of(const SplitItem& sample, Grouping grouping) {
  return grouping == Grouping::group ? sample.group : sample.id;
}

std::vector<Group> collect(const std::vector<SplitItem>& samples, Grouping grouping, int classes) {
  std::set<std::string> ids;
  // Sorted: input order does not matter.
  std::map<std::string, std::pair<std::vector<std::int64_t>, std::int64_t>> counts;
  for (const SplitItem& sample : samples) {
    THORAX_CHECK(!sample.id.empty(), "[splits] a sample has no id");
    THORAX_CHECK(ids.insert(sample.id).second, "[splits] sample '{}' appears twice", sample.id);
    const std::string& name = group_of(sample, grouping);
    THORAX_CHECK(!name.empty(),
                 "[splits] sample '{}' has no group (patient); split by image to do without",
                 sample.id);
    THORAX_CHECK(sample.labels.size() == samples.front().labels.size(),
                 "[splits] sample '{}' has {} findings, sample '{}' {}", sample.id,
                 sample.labels.size(), samples.front().id, samples.front().labels.size());
    auto& [of_group, size] = counts[name];
    ++size;
    if (has_findings(samples)) {
      of_group.resize(2 * sample.labels.size());
      for (std::size_t f = 0; f < sample.labels.size(); ++f)
        if (sample.labels[f] >= 0) ++of_group[2 * f + static_cast<std::size_t>(sample.labels[f])];
      continue;
    }
    of_group.resize(static_cast<std::size_t>(classes));
    ++of_group[static_cast<std::size_t>(sample.label)];
  }
  std::vector<Group> groups;
  for (auto& [name, of_group] : counts)
    groups.push_back({name, std::move(of_group.first), of_group.second});
  return groups;
}

// Groups with samples of a class; with findings there is one class, which all are of.
std::int64_t groups_with(const std::vector<Group>& groups, int cls, bool findings) {
  return std::count_if(groups.begin(), groups.end(), [&](const Group& g) {
    return findings || g.counts[static_cast<std::size_t>(cls)] > 0;
  });
}

// How unevenly a group's samples lie over the classes: the variance of its counts. Groups that
// upset the balance most are placed first, while there is still room to make up for them.
double unevenness(const Group& group) {
  double mean = 0, squares = 0;
  for (const std::int64_t count : group.counts) mean += static_cast<double>(count);
  mean /= static_cast<double>(group.counts.size());
  for (const std::int64_t count : group.counts)
    squares += (static_cast<double>(count) - mean) * (static_cast<double>(count) - mean);
  return squares;
}

// Deals groups to bins so that bin b gets about shares[b] of every class; `fixed[i]` is the bin of
// group i, or -1 where that is open. Gives the bin of each.
std::vector<int> deal(const std::vector<Group>& groups, const std::vector<double>& shares,
                      const std::vector<int>& fixed) {
  const std::size_t classes = groups.empty() ? 0 : groups[0].counts.size();
  std::vector<double> totals(classes);
  for (const Group& group : groups)
    for (std::size_t c = 0; c < classes; ++c) totals[c] += static_cast<double>(group.counts[c]);
  std::vector<std::vector<double>> filled(shares.size(), std::vector<double>(classes));
  std::vector<int> bin_of = fixed;
  const auto put = [&](std::size_t i, std::size_t bin) {
    bin_of[i] = static_cast<int>(bin);
    for (std::size_t c = 0; c < classes; ++c)
      filled[bin][c] += static_cast<double>(groups[i].counts[c]);
  };
  for (std::size_t i = 0; i < groups.size(); ++i)
    if (fixed[i] >= 0) put(i, static_cast<std::size_t>(fixed[i]));
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (fixed[i] >= 0) continue;
    // Squared distance from the target, each class weighing the same. Only the bin that receives
    // the group changes, so comparing the changes compares the sums.
    std::size_t best = 0;
    double best_change = 0, best_fill = 0;
    for (std::size_t b = 0; b < shares.size(); ++b) {
      double change = 0, fill = 0;
      for (std::size_t c = 0; c < classes; ++c) {
        if (totals[c] == 0) continue;
        const double target = shares[b] * totals[c];
        const double before = (filled[b][c] - target) / target;
        const double after =
            (filled[b][c] + static_cast<double>(groups[i].counts[c]) - target) / target;
        // Relative to the bin's own target, weighted by its share: a bin of a tenth and one of nine
        // tenths fill up at the same pace.
        change += shares[b] * (after * after - before * before);
        fill += filled[b][c] / target;
      }
      if (b == 0 || change < best_change - 1e-12 ||
          (change < best_change + 1e-12 && fill < best_fill - 1e-12)) {
        best = b;
        best_change = change;
        best_fill = fill;
      }
    }
    put(i, best);
  }
  return bin_of;
}

// The (bin, class) pairs without a group, rarest class first.
std::vector<std::pair<int, std::size_t>> lacking(const std::vector<Group>& groups,
                                                 const std::vector<int>& bin_of, int bins) {
  const std::size_t classes = groups.empty() ? 0 : groups[0].counts.size();
  std::vector<std::pair<std::int64_t, std::size_t>> rarest;  // how many groups hold the class
  for (std::size_t c = 0; c < classes; ++c)
    rarest.emplace_back(std::count_if(groups.begin(), groups.end(),
                                      [&](const Group& g) { return g.counts[c] > 0; }),
                        c);
  std::sort(rarest.begin(), rarest.end());
  std::vector<std::pair<int, std::size_t>> missing;
  for (const auto& [holders, c] : rarest) {
    std::vector<bool> there(static_cast<std::size_t>(bins), holders == 0);
    for (std::size_t i = 0; i < groups.size(); ++i)
      if (bin_of[i] >= 0 && groups[i].counts[c] > 0)
        there[static_cast<std::size_t>(bin_of[i])] = true;
    for (int b = 0; b < bins; ++b)
      if (!there[static_cast<std::size_t>(b)]) missing.emplace_back(b, c);
  }
  return missing;
}

// Fixes bins of some groups so that every bin has every class, by trying; false when that is not
// possible, or not found in `tries`. The pairs that are lacking are served one by one, each by any
// of the open groups, so that nothing is overlooked.
bool cover(const std::vector<Group>& groups, std::vector<int>& fixed, int bins, int& tries) {
  const auto missing = lacking(groups, fixed, bins);
  if (missing.empty()) return true;
  // Too few open groups for the bins that lack a class: no need to try.
  for (const auto& pair : missing) {
    const std::size_t c = pair.second;
    std::int64_t open = 0;
    for (std::size_t i = 0; i < groups.size(); ++i) open += fixed[i] < 0 && groups[i].counts[c] > 0;
    if (open <
        std::count_if(
            missing.begin(), missing.end(), [&](const auto& other) { return other.second == c; }))
      return false;
  }
  const auto [bin, cls] = missing.front();
  for (std::size_t i = 0; i < groups.size() && tries > 0; ++i) {
    if (fixed[i] >= 0 || groups[i].counts[cls] == 0) continue;
    --tries;
    fixed[i] = bin;
    if (cover(groups, fixed, bins, tries)) return true;
    fixed[i] = -1;
  }
  return false;
}

// Distributes groups over bins so that bin b gets about shares[b] of every class, and at least one
// group of each wherever its share of the groups that hold the class comes to one.
std::map<std::string, std::size_t> distribute(std::vector<Group> groups,
                                              const std::vector<double>& shares, std::uint64_t seed,
                                              bool findings) {
  Philox random(seed, 0x73706c69);
  for (std::size_t i = groups.size(); i > 1; --i) std::swap(groups[i - 1], groups[random.below(i)]);
  if (findings) {
    std::vector<LabelledGroup> labelled;
    for (const Group& group : groups) labelled.push_back({group.samples, group.counts});
    const std::vector<int> bins = deal_by_labels(labelled, shares);
    std::map<std::string, std::size_t> by_name;
    for (std::size_t i = 0; i < groups.size(); ++i)
      by_name[groups[i].name] = static_cast<std::size_t>(bins[i]);
    return by_name;
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const Group& a, const Group& b) { return unevenness(a) > unevenness(b); });
  std::vector<int> fixed(groups.size(), -1);
  std::vector<int> bin_of = deal(groups, shares, fixed);
  const int bins = static_cast<int>(shares.size());
  const auto missing = lacking(groups, bin_of, bins);
  const bool owed = std::all_of(missing.begin(), missing.end(), [&](const auto& pair) {
    const auto holders = std::count_if(groups.begin(), groups.end(),
                                       [&](const Group& g) { return g.counts[pair.second] > 0; });
    return static_cast<double>(holders) * shares[static_cast<std::size_t>(pair.first)] > 1 - 1e-9;
  });
  int tries = 100'000;
  if (!missing.empty() && owed && cover(groups, fixed, bins, tries))
    bin_of = deal(groups, shares, fixed);
  std::map<std::string, std::size_t> by_name;
  for (std::size_t i = 0; i < groups.size(); ++i)
    by_name[groups[i].name] = static_cast<std::size_t>(bin_of[i]);
  return by_name;
}

std::string listed(const std::set<std::string>& ids) {
  std::string text;
  int shown = 0;
  for (const std::string& id : ids) {
    if (shown++ == 8) {
      text += fmt::format(", ... ({} in all)", ids.size());
      break;
    }
    text += (text.empty() ? "'" : ", '") + id + "'";
  }
  return text;
}

// Of the document without its "checksum", its texts as the file has them.
std::string own_checksum(json document) {
  document.erase("checksum");
  Checksum sum;
  sum.add(dump_json(document));
  return sum.hex();
}

std::string name_of_class(const std::vector<SplitItem>& samples, int label) {
  for (const SplitItem& sample : samples)
    if (sample.label == label && !sample.class_name.empty())
      return fmt::format("'{}'", sample.class_name);
  return std::to_string(label);
}

// "class 'sick'"; "the data" where nothing has a class.
std::string subject(const std::vector<SplitItem>& samples, int label) {
  const bool classless = std::all_of(samples.begin(), samples.end(), [](const SplitItem& s) {
    return s.label == 0 && s.class_name.empty();
  });
  return classless ? "the data" : "class " + name_of_class(samples, label);
}

const char* of_that_class(const std::vector<SplitItem>& samples) {
  return subject(samples, 0) == "the data" ? "" : " of that class";
}

// "class 'sick': 5 images of 2 patients", a part for every class.
std::string class_sizes(const std::vector<SplitItem>& samples) {
  std::map<int, std::pair<std::int64_t, std::set<std::string>>> sizes;
  for (const SplitItem& sample : samples) {
    auto& [images, groups] = sizes[sample.label];
    ++images;
    groups.insert(sample.group);
  }
  std::vector<std::string> parts;
  for (const auto& [label, size] : sizes)
    parts.push_back(fmt::format("{}: {} images of {} patients", subject(samples, label), size.first,
                                size.second.size()));
  return fmt::format("{}", fmt::join(parts, "; "));
}

void check_classes(const Splits& splits, const std::vector<SplitItem>& samples) {
  std::unordered_map<std::string, int> label;
  std::set<int> classes;
  for (const SplitItem& sample : samples) {
    label[sample.id] = sample.label;
    classes.insert(sample.label);
  }
  const char* remedy = splits.cross_validation
                           ? "use fewer folds, or bring more patients"
                           : "hold out another share, try another seed, or bring more patients";
  for (std::size_t f = 0; f < splits.folds.size(); ++f) {
    for (const auto& [side, ids] : {std::pair{"training", &splits.folds[f].train},
                                    std::pair{"validation", &splits.folds[f].validation}}) {
      std::set<int> present;
      for (const std::string& id : *ids) present.insert(label.at(id));
      for (const int cls : classes)
        THORAX_CHECK(present.contains(cls), "[splits] {} has no image of {}; {}{} ({})",
                     splits.cross_validation ? fmt::format("fold {}: its {} part", f + 1, side)
                                             : fmt::format("the {} part", side),
                     subject(samples, cls), remedy, of_that_class(samples), class_sizes(samples));
    }
  }
}

}  // namespace

Splits k_fold(const std::vector<SplitItem>& samples, int folds, std::uint64_t seed,
              Grouping grouping) {
  THORAX_CHECK(folds >= 2, "[splits] {} folds; there must be at least 2", folds);
  const int classes = class_count(samples);
  std::vector<Group> groups = collect(samples, grouping, classes);
  for (int c = 0; c < classes; ++c) {
    const std::int64_t holders = groups_with(groups, c, has_findings(samples));
    const char* unit = grouping == Grouping::group ? "patients" : "images";
    THORAX_CHECK(holders == 0 || holders >= folds,
                 "[splits] {} has {} {}, fewer than the {} folds, and each fold needs one to "
                 "hold out; {}bring more {}{} ({})",
                 subject(samples, c), holders, unit, folds,
                 holders >= 2 ? fmt::format("use at most {} folds, or ", holders) : "", unit,
                 of_that_class(samples), class_sizes(samples));
  }
  THORAX_CHECK(!groups.empty(), "[splits] no samples");
  const auto fold_of = distribute(std::move(groups),
                                  std::vector<double>(static_cast<std::size_t>(folds), 1.0 / folds),
                                  seed, has_findings(samples));
  Splits splits{grouping, seed, true, std::vector<Fold>(static_cast<std::size_t>(folds))};
  for (const SplitItem& sample : samples) {
    const std::size_t own = fold_of.at(group_of(sample, grouping));
    for (std::size_t f = 0; f < splits.folds.size(); ++f)
      (f == own ? splits.folds[f].validation : splits.folds[f].train).push_back(sample.id);
  }
  check_classes(splits, samples);
  return splits;
}

Splits hold_out(const std::vector<SplitItem>& samples, double share, std::uint64_t seed,
                Grouping grouping) {
  THORAX_CHECK(share > 0 && share < 1, "[splits] share {} held out; must lie between 0 and 1",
               share);
  const int classes = class_count(samples);
  std::vector<Group> groups = collect(samples, grouping, classes);
  THORAX_CHECK(!groups.empty(), "[splits] no samples");
  for (int c = 0; c < classes; ++c) {
    const std::int64_t holders = groups_with(groups, c, has_findings(samples));
    const char* unit = grouping == Grouping::group ? "patients" : "images";
    THORAX_CHECK(holders != 1,
                 "[splits] {} has 1 of the {} {}, and training and validation need one each; "
                 "bring more {}{} ({})",
                 subject(samples, c), groups.size(), unit, unit, of_that_class(samples),
                 class_sizes(samples));
  }
  const auto bin_of =
      distribute(std::move(groups), {1 - share, share}, seed, has_findings(samples));
  Splits splits{grouping, seed, false, std::vector<Fold>(1)};
  for (const SplitItem& sample : samples) {
    const bool held = bin_of.at(group_of(sample, grouping)) == 1;
    (held ? splits.folds[0].validation : splits.folds[0].train).push_back(sample.id);
  }
  check_classes(splits, samples);
  return splits;
}

void check_splits(const Splits& splits, const std::vector<SplitItem>& samples) {
  std::unordered_map<std::string, const SplitItem*> by_id;
  for (const SplitItem& sample : samples)
    THORAX_CHECK(by_id.emplace(sample.id, &sample).second, "[splits] sample '{}' appears twice",
                 sample.id);
  THORAX_CHECK(!splits.folds.empty(), "[splits] there is no fold");
  std::map<std::string, int> held_out;
  for (std::size_t f = 0; f < splits.folds.size(); ++f) {
    const Fold& fold = splits.folds[f];
    std::set<std::string> train_ids, train_groups, unknown, twice, both, both_groups;
    for (const std::string& id : fold.train) {
      if (!train_ids.insert(id).second) twice.insert(id);
      if (const auto found = by_id.find(id); found == by_id.end())
        unknown.insert(id);
      else
        train_groups.insert(found->second->group);
    }
    std::set<std::string> validation_ids;
    for (const std::string& id : fold.validation) {
      if (!validation_ids.insert(id).second) twice.insert(id);
      if (train_ids.contains(id)) both.insert(id);
      const auto found = by_id.find(id);
      if (found == by_id.end()) {
        unknown.insert(id);
      } else {
        ++held_out[id];
        if (splits.grouping == Grouping::group && train_groups.contains(found->second->group))
          both_groups.insert(found->second->group);
      }
    }
    const auto refuse = [&](const std::set<std::string>& ids, const char* what) {
      THORAX_CHECK(ids.empty(), "[splits] fold {}: {}: {}", f + 1, what, listed(ids));
    };
    refuse(unknown, "samples that the data does not have");
    refuse(twice, "samples listed twice");
    refuse(both, "samples in training and in validation");
    refuse(both_groups, "groups (patients) in training and in validation");
    std::set<std::string> absent;
    for (const auto& [id, sample] : by_id)
      if (!train_ids.contains(id) && !validation_ids.contains(id)) absent.insert(id);
    refuse(absent, "samples of the data on neither side");
  }
  if (!splits.cross_validation) return;
  std::set<std::string> wrong;
  for (const auto& [id, sample] : by_id)
    if (held_out[id] != 1) wrong.insert(id);
  THORAX_CHECK(wrong.empty(), "[splits] samples not held out exactly once: {}", listed(wrong));
}

void save_splits(const std::filesystem::path& path, const Splits& splits,
                 const std::vector<SplitItem>& samples) {
  check_splits(splits, samples);
  json document;
  document["seed"] = static_cast<std::int64_t>(splits.seed);
  document["group"] = splits.grouping == Grouping::group ? "patient" : "image";
  document["kind"] = splits.cross_validation ? "cross-validation" : "hold-out";
  for (const Fold& fold : splits.folds)
    document["folds"].push_back({{"train", fold.train}, {"validation", fold.validation}});
  document["checksum"] = own_checksum(document);
  save_json(path, document);
}

Splits load_splits(const std::filesystem::path& path, const std::vector<SplitItem>& samples) {
  const json document = load_json(path);
  const ConfigObject config(document, path.string());
  Splits splits;
  splits.seed = static_cast<std::uint64_t>(config.integer("seed"));
  splits.grouping =
      config.choice("group", {"patient", "image"}) == "image" ? Grouping::image : Grouping::group;
  splits.cross_validation =
      config.choice("kind", {"cross-validation", "hold-out"}) == "cross-validation";
  for (const ConfigObject& fold : config.objects("folds")) {
    splits.folds.push_back({fold.texts_or("train", {}), fold.texts_or("validation", {})});
    fold.finish();
  }
  const std::string checksum = config.text_or("checksum", "");
  config.finish();
  try {
    check_splits(splits, samples);
  } catch (const Error& error) {
    fail("[splits] {}: {}", path.string(), std::string(error.what()).substr(9));
  }
  if (checksum.empty()) {
    fmt::print(
        stderr,
        "[splits] {}: keeps no checksum (written by an earlier version, or edited): taken as "
        "it is\n",
        path.string());
    return splits;
  }
  THORAX_CHECK(checksum == own_checksum(document),
               "[splits] {}: is not as it was written (checksum {}, now {}); bring it back, or "
               "remove its entry 'checksum' to use it as it is now",
               path.string(), checksum, own_checksum(document));
  return splits;
}

std::string describe_splits(const Splits& splits, const std::vector<SplitItem>& samples) {
  std::unordered_map<std::string, const SplitItem*> by_id;
  for (const SplitItem& sample : samples) by_id[sample.id] = &sample;
  std::string text;
  for (std::size_t f = 0; f < splits.folds.size(); ++f) {
    const auto side = [&](const std::vector<std::string>& ids) {
      std::map<int, int> counts;
      std::set<std::string> groups;
      for (const std::string& id : ids) {
        ++counts[by_id.at(id)->label];
        groups.insert(by_id.at(id)->group);
      }
      std::vector<std::string> parts;
      for (const auto& [cls, count] : counts)
        if (const std::string of = subject(samples, cls); of != "the data")
          parts.push_back(fmt::format("{} of {}", count, of));
      return fmt::format("{} images{}, {} patients", ids.size(),
                         parts.empty() ? "" : fmt::format(" ({})", fmt::join(parts, ", ")),
                         groups.size());
    };
    if (splits.cross_validation) text += fmt::format("fold {}: ", f + 1);
    text += fmt::format("training {}; validation {}\n", side(splits.folds[f].train),
                        side(splits.folds[f].validation));
  }
  return text;
}

}  // namespace thorax
