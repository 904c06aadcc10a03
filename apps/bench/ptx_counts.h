// What a pass does on ptx:N, counted, and how long a card would take, predicted from that.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "engine/tensor/dtype.h"

namespace thorax::app {

struct PtxCounts {
  std::int64_t launches = 0, blocks = 0;
  double instructions = 0;          // by warps, of PTX
  double sectors_a_request = 0;     // of global memory; 0 without requests
  double wavefronts_a_request = 0;  // of shared memory
  double dram_bytes = 0;            // by the simulated L2, empty before, written back after
  double predicted_seconds = 0;     // engine/runtime/ptx/TIME_MODEL.md
  std::string predicted_bound;      // of most of that time
  std::string kernels;              // of the pass, each once
};

// Runs `work` once on a device ptx:N. sampled_blocks > 0: of each launch so many for each
// multiprocessor, scaled up; results are then meaningless.
PtxCounts count_on_ptx(Device device, const std::function<void()>& work, int sampled_blocks = 0);

}  // namespace thorax::app
