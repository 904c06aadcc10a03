// What a launch does, counted exactly: by instruction, so by PTX line and source line.
//
// THORAX_PTX_COUNTERS=FILE: every launch of the process is counted, and FILE written as CSV when it
// ends (README.md). measure.h counts by call.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/runtime/ptx/machine.h"
#include "engine/runtime/ptx/measure.h"
#include "engine/runtime/ptx/warp.h"

namespace thorax::ptx {

// Of one instruction. A request is one execution by a warp of an instruction on memory.
struct LineCounts {
  std::uint64_t executed = 0;      // by warps
  std::uint64_t lanes = 0;         // that were active then
  std::uint64_t bytes = 0;         // all lanes' together: global, shared
  std::uint64_t unique_bytes = 0;  // within a request, global memory
  std::uint64_t sectors = 0;       // of 32 bytes that a request touches, global memory
  std::uint64_t lines = 0;         // of 128 bytes, the same
  // Cycles of shared memory: in 32 banks of 4 bytes one word of each at a time. Lanes take part
  // together: all of them with up to 4 bytes each, 16 with 8, 8 with 16; ldmatrix: the 8 rows of a
  // matrix.
  std::uint64_t wavefronts = 0;

  void add(const LineCounts& other);
};

class Counts {
 public:
  explicit Counts(const Program& program) : lines_(program.function.instructions.size()) {}

  // Before the step is run.
  void note(Warp& warp, const Step& step);
  void add(const Counts& other);
  // Of `part` blocks: what all `whole` would have, were they alike.
  void scale(std::uint64_t whole, std::uint64_t part);
  const std::vector<LineCounts>& lines() const { return lines_; }  // by instruction

 private:
  std::vector<LineCounts> lines_;
};

// The launch in numbers for the time model, but for what the caches did.
LaunchCounts summary(const Program& program, const Counts& counts, const Card& card,
                     const sim::BlockShape& shape);

// execute() of machine.h, counted: what its accesses do to the card's caches, too (cache.h).
void execute_counted(const Program& program, const sim::Architecture& architecture,
                     const sim::BlockShape& shape, std::span<const Argument> arguments,
                     Counts& counts, CardMemory& memory);

// Whether the process counts. Throws Error "[ptx] FILE: ..." when it cannot be written.
bool counting();
// One launch more, for the file.
void add_launch(const Program& program, const Counts& counts);

}  // namespace thorax::ptx
