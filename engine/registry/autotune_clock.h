// The clock of measurements on the CPU.
#pragma once

#include <functional>

namespace thorax::detail {

// Seconds. Tests put their own in, so that no choice of theirs depends on a busy machine.
std::function<double()>& autotune_clock();

}  // namespace thorax::detail
