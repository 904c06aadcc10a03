// What launches on ptx:N do, as numbers that the time model takes (time_model.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/runtime/ptx/cache.h"

namespace thorax::ptx {

// One launch. Instructions are executions by warps of PTX, without moves between registers and
// loads of parameters, which SASS has mostly none of.
struct LaunchCounts {
  std::string operation, kernel;  // whose function launched it; demangled
  int target = 0;                 // the PTX's: 75 for sm_75
  std::uint64_t blocks = 0;
  unsigned threads = 0;    // of a block
  std::size_t shared = 0;  // bytes of a block, static and dynamic
  std::uint64_t instructions = 0;
  std::uint64_t float32 = 0, integer = 0, float64 = 0, special = 0;  // of the instructions
  std::uint64_t barriers = 0;
  double matrix_16 = 0, matrix_tf32 = 0;  // FLOP of mma.sync
  // Global memory; sources of cp.async too.
  std::uint64_t global_requests = 0, global_sectors = 0;
  std::uint64_t waiting_loads = 0;  // of them loads into registers
  // Shared memory, ldmatrix too.
  std::uint64_t shared_requests = 0, shared_wavefronts = 0;
  std::uint64_t l1_clocks = 0;  // of the pipe that L1 and shared memory have in common
  Traffic traffic;

  double sectors_a_request() const;  // 0 without requests
  double wavefronts_a_request() const;
};

// While it lives, launches on ptx:N of the thread that made it are counted, on this card; L2 is
// empty at its beginning. sampled_blocks: see CardMemory::sample(). Throws Error "[ptx] ..." for a
// second one on the thread.
class Measurement {
 public:
  explicit Measurement(const Card& card, int sampled_blocks = 0);
  ~Measurement();
  Measurement(const Measurement&) = delete;
  Measurement& operator=(const Measurement&) = delete;

  const std::vector<LaunchCounts>& launches() const { return launches_; }
  // What is left in L2 is written back; with it everything that all launches moved. Once.
  Traffic finish();

  static Measurement* running();  // on this thread; nullptr: none
  CardMemory& memory() { return memory_; }
  void add(LaunchCounts launch) { launches_.push_back(std::move(launch)); }

 private:
  CardMemory memory_;
  std::vector<LaunchCounts> launches_;
};

}  // namespace thorax::ptx
