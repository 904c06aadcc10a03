// What one instruction of a warp asks of memory: counters and recordings look at it alike.
#pragma once

#include <array>
#include <cstdint>

#include "engine/runtime/ptx/warp.h"

namespace thorax::ptx {

// Addresses of up to 32 lanes, and those of them that take part.
struct Addresses {
  std::array<std::uint64_t, kLanes> at{};
  std::uint32_t lanes = 0;

  void add(int lane, std::uint64_t address);
};

// Addresses without the window: of the host for global memory, offsets for shared and local.
// cp.async: the sources in global memory, the targets in shared.
struct Request {
  Addresses global, shared, local;
  std::uint32_t bytes = 0;     // of one lane
  std::uint32_t matrices = 0;  // of ldmatrix: lanes 8 i + j name the rows of matrix i
};

// Before the step is run, which may write over its address. Empty for what is no access.
Request request_of(Warp& warp, const Step& step);

// Units of `granularity` bytes that the lanes touch.
std::uint64_t distinct(const Addresses& addresses, std::uint64_t granularity);

// Cycles of shared memory, which has 32 banks of 4 bytes and gives one word of each at a time.
// Lanes take part together: all with up to 4 bytes each, 16 with 8, 8 with 16; of ldmatrix the 8
// rows of a matrix.
std::uint64_t shared_wavefronts(const Request& request);

}  // namespace thorax::ptx
