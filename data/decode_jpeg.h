// The segments of a JPEG file (ITU-T T.81).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/container_check.h"

namespace thorax {

// check_container for bytes that begin with SOI.
ImageInfo check_jpeg(std::span<const uint8_t> bytes, const std::string& name,
                     const DecodeLimits& limits);

}  // namespace thorax
