// The block of a launch that finishes last goes on with what all of them have left in memory: a
// second pass without a second launch. Which block that is changes nothing as long as it reads the
// others' results in a fixed order. As in NVIDIA's sample threadFenceReduction.
#pragma once

#include "engine/runtime/launch.cuh"

namespace thorax {
namespace THORAX_GPU {

// Counters that are zero between launches, one for each group of blocks that waits for its last
// one. Launches that share them run one after the other: those of a GPU, and on a simulated device
// those of one thread of the host. They live as long as the process, or that thread. Throws Error
// "[gpu] ..." for more groups than there are counters.
constexpr unsigned kArrivalCounters = 2048;
unsigned* arrival_counters(Device device, unsigned groups);

// Called by every thread of each of `blocks` blocks that share a counter. True in all threads of
// the block that comes last: it sees what the others wrote before, by __ldcg, since its own
// first-level cache may be older. `flag` is the block's own, in shared memory.
__device__ inline bool is_last_block(int& flag, unsigned* counter, unsigned blocks) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0 && threadIdx.y == 0) {
    flag = atomicAdd(counter, 1u) == blocks - 1 ? 1 : 0;
    if (flag != 0) atomicExch(counter, 0u);
  }
  __syncthreads();
  if (flag == 0) return false;
  __threadfence();
  return true;
}

}  // namespace THORAX_GPU
}  // namespace thorax
