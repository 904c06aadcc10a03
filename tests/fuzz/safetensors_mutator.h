// Mutations of safetensors files that keep the parts of the format in step.
#pragma once

#include "tests/fuzz/harness.h"

namespace thorax::fuzz {

// Header length, JSON header and data buffer are taken apart; tensors are added, dropped, renamed,
// given other types, shapes and ranges; then ranges, length and buffer are made to fit, mostly.
Buffer mutate_safetensors(Bytes input, std::size_t max_bytes, unsigned seed, const PlainMutation&);

}  // namespace thorax::fuzz
