// Splits of samples that have several labels each: folds as alike as whole groups allow.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/train/splits.h"

namespace thorax {

// A group of samples (a patient's images) as far as its labels go.
struct LabelledGroup {
  std::int64_t samples = 0;
  std::vector<std::int64_t> counts;  // samples by label
};

// Iterative stratification (Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label
// Data, ECML PKDD 2011) with whole groups in the place of samples. The label with the fewest groups
// left comes first; its groups, those with the most of it first, go one by one to the bin that
// lacks most of that label, among equals to the one that lacks most samples. Bin b is to get
// shares[b] of everything. Gives the bin of each group; depends on nothing but the order of the
// groups, which the caller shuffles.
std::vector<int> deal_by_labels(const std::vector<LabelledGroup>& groups,
                                const std::vector<double>& shares);

// Where a side of a fold has no positive, or no negative, image of a finding: a line for each fold
// and side, naming the findings. `findings`: the names of SplitItem::labels. Empty when nothing
// lacks.
std::string lacking_labels(const Splits& splits, const std::vector<SplitItem>& samples,
                           const std::vector<std::string>& findings);

}  // namespace thorax
