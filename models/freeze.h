// Parameters that training leaves as they are, chosen by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/model.h"

namespace thorax {

struct FreezeReport {
  std::vector<std::int64_t> by_pattern;       // parameters that each pattern matches
  std::int64_t parameters = 0, all = 0;       // frozen, and how many there are
  std::int64_t weights = 0, all_weights = 0;  // elements of these
  std::int64_t norm_layers = 0;               // batch norm layers that are frozen
  // "12 of 60 parameters (9,408 of 11,176,512 weights) ..."
  std::string to_string(const std::vector<std::string>& patterns) const;
};

// Parameters whose name matches one of the patterns (fnmatch: * any text, dots too, ? one
// character, [abc] one of these) require no gradient any more. An optimizer made afterwards holds
// no state for them and does not decay them. A batch norm layer whose weight and bias are both
// frozen normalises with its running statistics in training, too, and leaves them as they are:
// statistics of other images would change what the frozen layers compute. Throws Error
// "[freeze] ..." when a pattern matches nothing, with the nearest names, or when nothing is left to
// train; nothing is frozen then.
FreezeReport freeze(const Model& model, const std::vector<std::string>& patterns);

}  // namespace thorax
