// What one training step or inference of a network launches on a GPU, at the sizes of a real run,
// counted on a simulated device that runs none of it (engine/runtime/sim/census.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/bench/network_step.h"

namespace thorax::app {

// Launches of one kind: the same operation, kernel, grid and block.
struct CensusRow {
  std::string operation, kernel;
  std::uint64_t blocks = 0;
  unsigned threads = 0;
  std::size_t dynamic_shared = 0;
  std::int64_t launches = 0;
  // Blocks that a multiprocessor holds at once by kernels/resources.csv, the least of the kernel's
  // instantiations with such blocks; 0 = the table does not know the kernel (fills and copies).
  int resident_blocks = 0;
  // blocks / (resident_blocks * multiprocessors): below 1 the launch does not fill the card once.
  double waves = 0;
};

struct LaunchCensus {
  std::vector<CensusRow> rows;  // the most launches first
  std::int64_t launches = 0, fills = 0, copies = 0;
  std::int64_t under_one_wave = 0;  // launches
  std::int64_t fewer_than_multiprocessors =
      0;                       // launches with fewer blocks than the card has those
  std::size_t peak_bytes = 0;  // of tensors alive at once, parameters included
};

// Tensors take address space of this machine and not its memory; the card's own size is not
// enforced, so that one learns what would not fit. Throws Error "[bench] ..." for a device that is
// not simulated, and the network's own errors.
LaunchCensus count_launches(const NetworkWork& work);

}  // namespace thorax::app
