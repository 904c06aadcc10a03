// A block that runs: its warps and its memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/runtime/ptx/program.h"
#include "engine/runtime/sim/block.h"

namespace thorax::ptx {

struct Range {
  std::uint64_t begin = 0, end = 0;
};

class BlockTrace;
class Counts;
struct Recording;

struct Block {
  const Program* program = nullptr;
  sim::BlockShape shape;
  sim::Index3 index;
  unsigned char* shared = nullptr;
  std::size_t shared_bytes = 0;  // static and dynamic
  const unsigned char* parameters = nullptr;
  std::size_t parameter_bytes = 0;
  std::span<const Range> memory;   // blocks of device memory, by address
  Counts* counts = nullptr;        // nullptr: nothing is counted
  BlockTrace* trace = nullptr;     // of its accesses to global memory, when it is counted
  Recording* recording = nullptr;  // nullptr: the block is not recorded
  std::uint64_t order = 0;         // of the block in the grid
};

// cp.async poisons its target when it starts and delivers at the wait, as the simulator does.
struct DelayedCopy {
  std::uint32_t to = 0;
  std::uint16_t bytes = 0;
  std::uint8_t lane = 0;
  int group = 0;
  std::array<unsigned char, 16> data{};
};

struct Warp {
  unsigned char* registers = nullptr;
  std::uint32_t active = 0;   // lanes that execute
  std::uint32_t live = 0;     // lanes that exist and have not returned
  std::uint32_t partial = 0;  // active is not all lanes: which Step::run
  std::uint32_t guarded = 0;  // active before a guard
  // The block of memory that an instruction accessed last, by Step::slot.
  std::array<Range, kSlots> known;
  Block* block = nullptr;
  int number = 0;  // in the block

  // A divergent branch: when the lanes that went on reach `join` the `pending` ones start at `at`;
  // when they have arrived, too, `all` go on ("Divergence", reconvergence at the immediate
  // post-dominator).
  struct Split {
    const Step* join;
    const Step* at;
    std::uint32_t pending, all;
  };
  // Each has fewer lanes than the one below it.
  std::array<Split, kLanes> splits;
  std::size_t split_count = 0;

  const Step* at = nullptr;
  enum class State : std::uint8_t { ready, at_barrier, done } state = State::ready;
  struct Waiting {
    std::uint64_t barrier = 0;
    std::uint64_t threads = 0;    // that take part; 0: all of the block
    std::uint32_t predicate = 0;  // what bar.red combines
    std::uint32_t result = 0;     // where it goes
    std::uint8_t reduction = 0;   // 0 none, 1 popc, 2 and, 3 or
    const Step* step = nullptr;
  } waiting;

  std::vector<unsigned char> local;
  std::vector<DelayedCopy> copies;
  std::array<int, kLanes> copy_group{};  // the group that a lane fills

  void set_active(std::uint32_t lanes) {
    active = lanes;
    partial = lanes != kAllLanes ? 1 : 0;
  }
  template <class T>
  T* lanes(std::uint32_t offset) {
    return reinterpret_cast<T*>(registers + offset);
  }
  std::uint32_t& predicate(std::uint32_t offset) {
    return *reinterpret_cast<std::uint32_t*>(registers + offset);
  }
};

// Throws Error "[ptx] KERNEL: WHAT; PTX line, source line, thread, block". lane < 0: of the warp.
[[noreturn]] void fault(const Warp& warp, const Step& step, int lane, const std::string& what);
[[noreturn]] void fault(const Warp& warp, const Step& step, int lane, const char* what);
[[noreturn]] void fault_unwritten(const Warp& warp, const Step& step, int lane);
[[noreturn]] void fault_members(const Warp& warp, const Step& step, int lane, std::uint32_t mask);

// Addresses of the host for those that the active lanes access; checks bounds, alignment and space.
void resolve(Warp& warp, const Step& step, Space space, unsigned char* (&at)[kLanes]);

// cp.async: `valid` bytes of `from` will be at `to`.
void start_copy(Warp& warp, const Step& step, int lane, unsigned char* to,
                const unsigned char* from, std::uint32_t valid);
// Copies of the active lanes but for their latest `pending` groups.
void deliver_copies(Warp& warp, int pending);

// After the active lanes are done or have reached a join: the next lanes to run.
const Step* next_lanes(Warp& warp, const Step* join);

}  // namespace thorax::ptx
