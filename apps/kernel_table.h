// What every CUDA kernel takes of a multiprocessor, from kernels/resources.csv.
#pragma once

namespace thorax::app {

// One row per kernel and architecture: registers, spills, shared memory, threads a block, and the
// occupancy that follows: the share of the multiprocessor's warps that can be resident.
void print_kernel_table(bool as_json);

}  // namespace thorax::app
