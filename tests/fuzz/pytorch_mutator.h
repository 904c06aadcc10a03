// Mutations of files of torch.save that keep the zip archive whole and change what lies in it.
#pragma once

#include "tests/fuzz/harness.h"

namespace thorax::fuzz {

Buffer mutate_pytorch(Bytes input, std::size_t max_bytes, unsigned seed,
                      const PlainMutation& plain);

}  // namespace thorax::fuzz
