// The scheduler of one block; private to the simulator.
#pragma once

#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/runtime/sim/block.h"
#include "engine/runtime/sim/fibre.h"
#include "engine/runtime/sim/sanitizer.h"
#include "engine/runtime/sim/space.h"

namespace thorax::sim {

#if defined(THORAX_SIM_TSAN)
constexpr bool kFibrePerThread = true;
#else
constexpr bool kFibrePerThread = false;
#endif
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kSharedGap = 64;  // between two objects in shared memory
#else
constexpr std::size_t kSharedGap = 0;
#endif

class Scheduler {
 public:
  struct Warp {
    unsigned live = 0;     // lanes that exist and have not returned
    unsigned arrived = 0;  // lanes that wait in a warp operation
    unsigned memory = 0;   // those of them whose operation orders memory, too
    bool combined = false;
    WarpExchange exchange{};
    std::vector<unsigned char> in, out;
  };

  static Scheduler& instance();
  ~Scheduler();

  void run_block(const char* kernel, const Architecture& architecture, const BlockShape& shape,
                 Index3 block_index, const std::function<void()>& body);
  // For the race detector: what the host did is known to the threads of the next grid; what they
  // did, to the host.
  void begin_grid();
  void end_grid();

  Thread* current() const { return current_; }
  const char* kernel() const { return kernel_; }
  const Architecture& architecture() const { return architecture_; }
  int barrier(BarrierKind kind, int predicate);
  // memory: the operation orders memory, too. Of all the warp's operations only __syncwarp does
  // (CUDA C++ Programming Guide, "Warp Shuffle Functions", "Warp Vote Functions").
  void wait_warp(unsigned mask, bool memory);
  unsigned live_lanes() const;
  Warp& warp();
  void* shared(std::size_t bytes);
  void* dynamic_memory() const { return dynamic_memory_.get(); }
  Space space_of(const void* address) const;
  std::string where(const Thread& thread) const;

 private:
  struct Free {
    void operator()(unsigned char* p) const { std::free(p); }
  };
  using Memory = std::unique_ptr<unsigned char, Free>;

  static void work(void* argument);
  void prepare_threads(std::size_t count);
  void prepare_memory();
  Memory poisoned(std::size_t bytes) const;
  Worker* idle_fibre();
  void resume(Worker& worker);
  void suspend(Thread& thread);
  Thread* start_thread(Worker& worker);
  void finish(Thread& thread);
  void rest(Worker& worker);
  void go_on(Thread& thread);
  bool release();
  bool release_warp(std::size_t w);
  void synchronise();
  void set_error(const std::string& text);

  const char* kernel_ = "";
  Architecture architecture_;
  const std::function<void()>* body_ = nullptr;
  Block block_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  // Under the race detector the blocks of a grid share two sets of fibres, which nothing orders;
  // else there is one.
  struct Fibres {
    std::vector<std::unique_ptr<Worker>> all;
    std::vector<Worker*> idle;
  } fibres_[2];
  std::size_t set_ = 0;            // that the current block uses
  std::vector<Worker*> together_;  // whom a barrier lets go at once
  std::vector<int> order_;
  std::size_t next_ = 0;  // in order_: the next thread that has not started
  Thread* current_ = nullptr;
  int live_ = 0;
  int waiting_ = 0;
  BarrierKind barrier_kind_ = BarrierKind::plain;
  int barrier_count_ = 0;
  int barrier_result_ = 0;
  Memory static_memory_, dynamic_memory_;
  std::size_t static_bytes_ = 0;
  std::vector<std::pair<std::size_t, std::size_t>> static_declared_;  // begin, bytes
  std::exception_ptr error_;
  // For the race detector.
  char barrier_sync_ = 0, grid_sync_ = 0;
  std::uint64_t grid_ = 0;  // counts
};

// A fibre and the simulated thread on it.
struct Worker {
  std::unique_ptr<Fibre> fibre;
  Thread* thread = nullptr;
  std::uint64_t grid = 0;  // the last one it worked for
};

}  // namespace thorax::sim
