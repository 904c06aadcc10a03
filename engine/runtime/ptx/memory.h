// Device memory as kernels see it.
#pragma once

#include <memory>
#include <vector>

#include "engine/runtime/ptx/warp.h"

namespace thorax::ptx {

// All blocks of device memory now, by address.
std::shared_ptr<const std::vector<Range>> device_memory();

}  // namespace thorax::ptx
