// Which build this is.
#pragma once

#include <string>

namespace thorax {

// The commit that was built ("1a2b3c4", "1a2b3c4-dirty"); "unknown" outside a git checkout.
std::string build_commit();

}  // namespace thorax
