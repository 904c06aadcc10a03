// Who trains and who is held out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace thorax {

// One sample as far as splitting goes.
struct SplitItem {
  std::string id;               // unique: the image's path or name
  std::string group;            // the patient
  int label = 0;                // class, from 0; 0 for all where classes do not matter
  std::string class_name = {};  // for messages; "class 1" without
  // Instead of a class: several findings, each there (1), not there (0) or not known (-1). All
  // samples have as many, or none has any.
  std::vector<std::int8_t> labels = {};
};

// `group`: all samples of a patient land on one side. `image`: each sample by itself, as the
// reference study did; patients may then sit on both sides.
enum class Grouping { group, image };

struct Fold {
  std::vector<std::string> train;       // sample ids, in the order of the samples given
  std::vector<std::string> validation;  // the same
};

struct Splits {
  Grouping grouping = Grouping::group;
  std::uint64_t seed = 0;
  bool cross_validation = true;  // every sample is held out exactly once
  std::vector<Fold> folds;
};

// K folds, stratified: each fold's share of every class is as even as whole groups allow. Groups,
// those with the most uneven class counts first and in a random order among equals, go one by one
// to the fold that they leave most even. Depends on the samples and the seed, not on the order in
// which samples are given. Every fold gets every class wherever some deal of whole groups does
// that. Throws Error "[splits] ..." when an id appears twice, a group is empty,
// a class has fewer groups than there are folds, or a fold would lack a class; these name the
// class, its numbers and what to do.
//
// Samples with several findings are dealt by label_stratification.h, where a finding that is there
// and one that is not are labels, so that what is rarely known is spread as well. A fold may then
// lack positives of a rare finding: lacking_labels() says so. Throws when a side would be empty.
Splits k_fold(const std::vector<SplitItem>& samples, int folds, std::uint64_t seed,
              Grouping grouping = Grouping::group);

// One fold whose validation part holds about `share` of each class. Same rules.
Splits hold_out(const std::vector<SplitItem>& samples, double share, std::uint64_t seed,
                Grouping grouping = Grouping::group);

// Checks splits, from a file perhaps, against the samples: every id known and at most once on each
// side; no sample, and with Grouping::group no group, on both sides of a fold; every sample in each
// fold, and held out exactly once over all folds in cross-validation. Throws Error "[splits] ..."
// naming the offending ids.
void check_splits(const Splits& splits, const std::vector<SplitItem>& samples);

// splits.json, with a checksum of what it says.
void save_splits(const std::filesystem::path& path, const Splits& splits,
                 const std::vector<SplitItem>& samples);
// Reads and checks; throws Error "[splits] PATH: ..." also when the file is not as it was written.
// One without a checksum (of an earlier version, or edited on purpose) is taken as it is, with a
// line on stderr.
Splits load_splits(const std::filesystem::path& path, const std::vector<SplitItem>& samples);

// Samples per class and side of each fold, as text.
std::string describe_splits(const Splits& splits, const std::vector<SplitItem>& samples);

}  // namespace thorax
