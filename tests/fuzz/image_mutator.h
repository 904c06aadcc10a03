// Mutations of PNG and JPEG files that reach behind the checks of their containers.
#pragma once

#include "tests/fuzz/harness.h"

namespace thorax::fuzz {

// Changes, drops, doubles or swaps chunks, and gives each its length and its checksum again,
// mostly.
Buffer mutate_png(Bytes input, std::size_t max_bytes, unsigned seed, const PlainMutation&);
// The same for the segments of a JPEG; coded data and the end marker stay in place, mostly.
Buffer mutate_jpeg(Bytes input, std::size_t max_bytes, unsigned seed, const PlainMutation&);

}  // namespace thorax::fuzz
