// Why a kind of device that is built in has no devices on this machine.
#pragma once

#include <string>

#include "engine/tensor/dtype.h"

namespace thorax {

// A backend's own words, "CUDA driver version is insufficient for CUDA runtime version
// (cudaErrorInsufficientDriver)", said once at start-up.
void note_missing(DeviceKind kind, std::string reason);
// What was noted; where nothing was, that the kind is not built in and which preset builds it.
// Empty when there are devices of the kind.
std::string why_missing(DeviceKind kind);

}  // namespace thorax
