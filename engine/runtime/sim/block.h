// One block of threads on the simulated device: every CUDA thread is a fibre, all of them on one OS
// thread, which changes fibre only where CUDA synchronises.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace thorax::sim {

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};

// The architecture a launch is checked against.
struct Architecture {
  int compute_capability = 75;
  std::size_t shared_static = 48 * 1024;  // bytes of THORAX_SHARED per block
  std::size_t shared_in_all = 64 * 1024;  // with dynamic shared memory
};

// A copy to shared memory that cp.async started and no wait has finished: performed at the wait, so
// that a missing wait leaves the poison in place.
struct DelayedCopy {
  void* to;
  std::array<unsigned char, 16> data;
  int bytes;
  int group;
};

// The limits of simulated device `index`.
const Architecture& architecture(int index);

struct Worker;
struct Block {
  Index3 block_index, block_size, grid_size;
  std::size_t dynamic_bytes = 0;
};

struct Thread {
  Index3 index;  // threadIdx
  Block* block = nullptr;
  int linear = 0;  // in the block
  int lane = 0;
  int warp = 0;
  std::size_t shared_used = 0;  // bytes of THORAX_SHARED this thread declared so far
  int copy_group = 0;           // cp.async group being filled
  std::vector<DelayedCopy> copies;
  // What it waits for, while suspended.
  enum class State : std::uint8_t {
    unstarted,
    running,
    at_barrier,
    at_warp,
    finished
  } state = State::unstarted;
  unsigned warp_mask = 0;
  Worker* worker = nullptr;
};

Thread& current_thread();

enum class BarrierKind : std::uint8_t { plain, count, all, any };
// Every thread of the block must call it, with the same kind; the result combines `predicate`.
int block_barrier(BarrierKind kind, int predicate);
// Orders what the calling thread has written before what others read after a fence of theirs.
void fence();
// Every lane of `mask` must call it with the same mask.
void warp_barrier(unsigned mask);
// Lanes of the calling warp that have not finished.
unsigned active_mask();

// What the lanes of `mask` brought, by lane. Each caller reads it, then calls warp_exchange_done.
struct WarpExchange {
  std::array<std::uint64_t, 32> values;
};
const WarpExchange& warp_exchange(unsigned mask, std::uint64_t value);
void warp_exchange_done(unsigned mask);

// A collective of the whole warp over larger operands (matrix instructions): every lane brings
// `in_bytes` and takes `out_bytes`; `combine` sees all lanes' inputs (32 x in_bytes) and fills all
// outputs (32 x out_bytes).
void warp_collective(
    const void* in, std::size_t in_bytes, void* out, std::size_t out_bytes,
    const std::function<void(const unsigned char* in, unsigned char* out)>& combine);

// The block's memory. Static: each declaration of a thread gets the next bytes; every thread of a
// block must declare the same, in the same order.
void* static_shared(std::size_t bytes);
void* dynamic_shared_memory();

// cp.async: `bytes` of 4, 8 or 16; `valid` of them are read, the rest is zero.
void async_copy(void* to_shared, const void* from_global, int bytes, int valid);
void async_commit();
// Performs the calling thread's copies except those of its last `pending` committed groups.
void async_wait(int pending);

// Throws Error "[sim] kernel: ..." for an instruction that the architecture lacks.
void require_architecture(int compute_capability, const char* instruction);

struct BlockShape {
  Index3 grid, block;
  std::size_t dynamic_shared = 0;
};
// Order in which the threads of a block run between two barriers.
enum class Order : std::uint8_t { forward, reverse, random };
void set_order(Order order, std::uint64_t seed = 0);

// Throws Error naming the kernel for a launch that the architecture refuses.
void check_launch(const char* kernel, const Architecture& architecture, const BlockShape& shape);

// Runs `body` once for every thread of every block. Throws Error naming the kernel for a launch
// that the architecture refuses, a barrier that not all threads reach, a mask that does not fit, or
// a deadlock.
void run_grid(const char* kernel, const Architecture& architecture, const BlockShape& shape,
              const std::function<void()>& body);

}  // namespace thorax::sim
