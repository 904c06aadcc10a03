// How much memory the commands take.
#pragma once

#include <string>
#include <vector>

#include "tests/reliability/campaign.h"

namespace thorax::reliability {

// Each says what is wrong, a line each; nothing when all is well. They print what they measured.

// Peak bytes of the heap of each command on the small inputs, against a bound. A peak under half of
// its bound is told, too: such a bound guards nothing.
std::vector<std::string> check_peaks(const std::vector<const Campaign*>& campaigns);

// --memory-limit: with the smallest limit that a command gets by with, its tensors take no byte
// more than that; with one byte less it ends in an error that names the limit.
std::vector<std::string> check_limit(const Campaign& any, const std::filesystem::path& inputs,
                                     const std::filesystem::path& folder);

// Small files that claim or unpack to huge images are refused within a few megabytes.
std::vector<std::string> check_bombs(const Campaign& any, const std::filesystem::path& inputs,
                                     const std::filesystem::path& folder);

}  // namespace thorax::reliability
