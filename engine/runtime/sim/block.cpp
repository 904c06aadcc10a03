#include "engine/runtime/sim/block.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>

#include "engine/runtime/parallel.h"
#include "engine/runtime/philox.h"
#include "engine/runtime/sim/fibre.h"
#include "engine/runtime/sim/launch_log.h"
#include "engine/runtime/sim/sanitizer.h"
#include "engine/runtime/sim/scheduler.h"
#include "engine/tensor/error.h"

namespace thorax::sim {
namespace {

std::atomic<Order> order{Order::forward};
std::atomic<std::uint64_t> order_seed{0};

}  // namespace

Thread& current_thread() {
  return *Scheduler::instance().current();
}

void set_order(Order wanted, std::uint64_t seed) {
  order = wanted;
  order_seed = seed;
}

// Scheduler
// -----------------------------------------------------------------------------------------

Scheduler& Scheduler::instance() {
  // One per OS thread; blocks of one grid may run on several.
  static thread_local Scheduler scheduler;
  return scheduler;
}

Scheduler::~Scheduler() = default;

void Scheduler::run_block(const char* kernel, const Architecture& architecture,
                          const BlockShape& shape, Index3 block_index,
                          const std::function<void()>& body) {
  kernel_ = kernel;
  architecture_ = architecture;
  body_ = &body;
  const auto count = static_cast<std::size_t>(shape.block.x) * shape.block.y * shape.block.z;
  block_.block_index = block_index;
  block_.block_size = shape.block;
  block_.grid_size = shape.grid;
  block_.dynamic_bytes = shape.dynamic_shared;
  prepare_threads(count);
  prepare_memory();
  order_.resize(count);
  std::iota(order_.begin(), order_.end(), 0);
  const std::uint64_t block_number =
      (std::uint64_t{block_index.z} * shape.grid.y + block_index.y) * shape.grid.x + block_index.x;
  switch (order.load()) {
    case Order::forward:
      break;
    case Order::reverse:
      std::reverse(order_.begin(), order_.end());
      break;
    case Order::random: {
      Philox random(order_seed, block_number);
      for (std::size_t i = count; i > 1; --i) std::swap(order_[i - 1], order_[random.below(i)]);
    }
  }
  next_ = 0;
  error_ = nullptr;
#if defined(THORAX_SIM_TSAN)
  // What was written before the block is known to its threads; idle fibres are taken in order, so
  // that every thread of a block has one of its own.
  __tsan_release(&begin_sync_);
  idle_.clear();
  for (auto fibre = fibres_.rbegin(); fibre != fibres_.rend(); ++fibre)
    idle_.push_back(fibre->get());
#endif
  // First everyone runs up to the first wait; a fibre whose thread ends takes the next thread, so
  // that kernels without barriers never switch.
  while (next_ < order_.size() && !error_) resume(*idle_fibre());
  while (!error_ && release()) {
    for (std::size_t i = 0; i < order_.size() && !error_; ++i) {
      Thread& thread = threads_[static_cast<std::size_t>(order_[i])];
      if (thread.state == Thread::State::running) resume(*thread.worker);
    }
  }
#if defined(THORAX_SIM_TSAN)
  __tsan_acquire(&end_sync_);
#endif
  if (error_) {
    fibres_.clear();  // suspended stacks are given up; kernels own nothing
    idle_.clear();
    const std::exception_ptr error = error_;
    error_ = nullptr;
    std::rethrow_exception(error);
  }
}

void Scheduler::prepare_threads(std::size_t count) {
  if (threads_.size() < count) threads_.resize(count);
  warps_.resize((count + 31) / 32);
  for (Warp& warp : warps_) warp = Warp{};
  for (std::size_t i = 0; i < count; ++i) {
    Thread& thread = threads_[i];
    const auto linear = static_cast<unsigned>(i);
    thread.index = {linear % block_.block_size.x,
                    linear / block_.block_size.x % block_.block_size.y,
                    linear / (block_.block_size.x * block_.block_size.y)};
    thread.block = &block_;
    thread.linear = static_cast<int>(i);
    thread.lane = static_cast<int>(i % 32);
    thread.warp = static_cast<int>(i / 32);
    thread.shared_used = 0;
    thread.copy_group = 0;
    thread.copies.clear();
    thread.state = Thread::State::unstarted;
    thread.worker = nullptr;
    thread.barriers = thread.warp_operations = 0;
    warps_[i / 32].live |= 1u << (i % 32);
  }
  live_ = static_cast<int>(count);
  waiting_ = 0;
}

// Each block gets fresh memory full of NaN bytes; under AddressSanitizer in an allocation of its
// own, so that an index past the end is caught.
Scheduler::Memory Scheduler::poisoned(std::size_t bytes) const {
  if (bytes == 0) return nullptr;
  const std::size_t rounded = (bytes + 127) / 128 * 128;
  Memory memory(static_cast<unsigned char*>(std::aligned_alloc(128, rounded)));
  THORAX_CHECK(memory != nullptr, "[sim] no memory for {} bytes of shared memory", rounded);
  std::memset(memory.get(), 0xff, rounded);
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(memory.get() + bytes, rounded - bytes);
#endif
  return memory;
}

void Scheduler::prepare_memory() {
  static_declared_.clear();
  dynamic_memory_ = poisoned(block_.dynamic_bytes);
  static_memory_ = poisoned(architecture_.shared_static + 16 * kSharedGap);
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(static_memory_.get(), architecture_.shared_static + 16 * kSharedGap);
#endif
}

Worker* Scheduler::idle_fibre() {
  if (idle_.empty()) {
    fibres_.push_back(std::make_unique<Worker>());
    Worker* worker = fibres_.back().get();
    worker->fibre = std::make_unique<Fibre>(&Scheduler::work, worker);
    return worker;
  }
  Worker* worker = idle_.back();
  idle_.pop_back();
  return worker;
}

void Scheduler::resume(Worker& worker) {
  current_ = worker.thread;
  worker.fibre->enter();
}

// The loop of a fibre: take an unstarted thread, run it, take the next; with none left, rest.
void Scheduler::work(void* argument) {
  auto* worker = static_cast<Worker*>(argument);
  for (;;) {
    Scheduler& self = instance();
    while (self.next_ < self.order_.size() && !self.error_) {
      Thread& thread = self.threads_[static_cast<std::size_t>(self.order_[self.next_++])];
      thread.state = Thread::State::running;
      thread.worker = worker;
      worker->thread = &thread;
      self.current_ = &thread;
#if defined(THORAX_SIM_TSAN)
      __tsan_acquire(&self.begin_sync_);
#endif
      try {
        (*self.body_)();
        self.finish(thread);
      } catch (...) {
        self.error_ = std::current_exception();
      }
#if defined(THORAX_SIM_TSAN)
      __tsan_release(&self.end_sync_);
#endif
      if (kFibrePerThread) break;  // the race detector tells threads apart by their fibre
    }
    worker->thread = nullptr;
    if (!kFibrePerThread) self.idle_.push_back(worker);
    worker->fibre->leave();
  }
}

void Scheduler::finish(Thread& thread) {
  THORAX_CHECK(thread.copies.empty(),
               "[sim] {}: thread {} ends with {} cp.async copies that nothing waited for", kernel_,
               where(thread), thread.copies.size());
  thread.state = Thread::State::finished;
  --live_;
  warps_[static_cast<std::size_t>(thread.warp)].live &= ~(1u << thread.lane);
}

void Scheduler::suspend(Thread& thread) {
  thread.worker->fibre->leave();
  // Entered again: resume() has made this thread current.
}

// Lets go whoever waits for something that has happened. False when all have finished.
bool Scheduler::release() {
  const auto count = order_.size();
  if (live_ == 0) return false;
  bool any = false;
  if (waiting_ == live_ && waiting_ > 0) {
    if (live_ != static_cast<int>(count)) {
      set_error(
          fmt::format("[sim] {}: barrier divergence: {} of {} threads are at __syncthreads, "
                      "the others have returned",
                      kernel_, waiting_, count));
      return true;
    }
    barrier_result_ = barrier_kind_ == BarrierKind::count ? barrier_count_
                      : barrier_kind_ == BarrierKind::all ? barrier_count_ == waiting_
                                                          : barrier_count_ > 0;
    for (std::size_t i = 0; i < count; ++i)
      if (threads_[i].state == Thread::State::at_barrier)
        threads_[i].state = Thread::State::running;
    waiting_ = 0;
    barrier_count_ = 0;
    return true;
  }
  for (std::size_t w = 0; w < warps_.size(); ++w) any = release_warp(w) || any;
  if (!any) {
    std::string text;
    for (std::size_t i = 0; i < count && text.size() < 400; ++i) {
      const Thread& thread = threads_[i];
      if (thread.state == Thread::State::at_barrier || thread.state == Thread::State::at_warp)
        text +=
            fmt::format("\n  thread {} at {}", where(thread),
                        thread.state == Thread::State::at_barrier
                            ? std::string("__syncthreads")
                            : fmt::format("a warp operation with mask {:08x}", thread.warp_mask));
    }
    set_error(fmt::format("[sim] {}: deadlock: {} threads wait for one another:{}", kernel_, live_,
                          text));
  }
  return true;
}

// Every mask of which all lanes have arrived goes on.
bool Scheduler::release_warp(std::size_t w) {
  bool any = false;
  Warp& warp = warps_[w];
  unsigned seen = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((seen >> lane & 1u) != 0 || (warp.arrived >> lane & 1u) == 0) continue;
    const unsigned mask = threads_[w * 32 + lane].warp_mask;
    unsigned there = 0;
    for (unsigned other = 0; other < 32; ++other)
      if ((warp.arrived >> other & 1u) != 0 && threads_[w * 32 + other].warp_mask == mask)
        there |= 1u << other;
    seen |= there;
    if (there != mask) continue;
    for (unsigned other = 0; other < 32; ++other)
      if ((mask >> other & 1u) != 0) threads_[w * 32 + other].state = Thread::State::running;
    warp.arrived &= ~mask;
    any = true;
  }
  return any;
}

void Scheduler::set_error(const std::string& text) {
  error_ = std::make_exception_ptr(Error(text));
}

std::string Scheduler::where(const Thread& thread) const {
  return fmt::format("({}, {}, {}) of block ({}, {}, {})", thread.index.x, thread.index.y,
                     thread.index.z, block_.block_index.x, block_.block_index.y,
                     block_.block_index.z);
}

int Scheduler::barrier(BarrierKind kind, int predicate) {
  Thread& thread = *current_;
  THORAX_CHECK(waiting_ == 0 || kind == barrier_kind_,
               "[sim] {}: thread {} is at another kind of __syncthreads than the others", kernel_,
               where(thread));
  barrier_kind_ = kind;
  barrier_count_ += predicate != 0;
  ++waiting_;
  thread.state = Thread::State::at_barrier;
#if defined(THORAX_SIM_TSAN)
  // Two alternating objects: with one, the next barrier's release would order what this one does
  // not.
  char* sync = &sync_[thread.barriers++ % 2];
  __tsan_release(sync);
  suspend(thread);
  __tsan_acquire(sync);
#else
  suspend(thread);
#endif
  return barrier_result_;
}

void Scheduler::wait_warp(unsigned mask) {
  Thread& thread = *current_;
  Warp& warp = warps_[static_cast<std::size_t>(thread.warp)];
  THORAX_CHECK(
      (mask >> thread.lane & 1u) != 0,
      "[sim] {}: thread {} (lane {}) calls a warp operation whose mask {:08x} leaves it out",
      kernel_, where(thread), thread.lane, mask);
  THORAX_CHECK((mask & ~warp.live) == 0,
               "[sim] {}: thread {}: mask {:08x} names lanes that have returned or do not exist "
               "(live: {:08x})",
               kernel_, where(thread), mask, warp.live);
  thread.warp_mask = mask;
  thread.state = Thread::State::at_warp;
  warp.arrived |= 1u << thread.lane;
#if defined(THORAX_SIM_TSAN)
  char* sync = &warp.sync[thread.warp_operations++ % 2];
  __tsan_release(sync);
  suspend(thread);
  __tsan_acquire(sync);
#else
  suspend(thread);
#endif
}

unsigned Scheduler::live_lanes() const {
  return warps_[static_cast<std::size_t>(current_->warp)].live;
}

Scheduler::Warp& Scheduler::warp() {
  return warps_[static_cast<std::size_t>(current_->warp)];
}

void* Scheduler::shared(std::size_t bytes) {
  Thread& thread = *current_;
  // Objects follow one another; under AddressSanitizer with a gap, in which an overrun shows.
  const std::size_t begin = (thread.shared_used + 15) / 16 * 16;
  thread.shared_used = begin + bytes + kSharedGap;
  const auto found = std::find_if(static_declared_.begin(), static_declared_.end(),
                                  [&](const auto& d) { return d.first == begin; });
  if (found != static_declared_.end()) {
    THORAX_CHECK(found->second == bytes,
                 "[sim] {}: threads declare different shared memory ({} and {} bytes)", kernel_,
                 found->second, bytes);
    return static_memory_.get() + begin;
  }
  const std::size_t declared = begin + bytes - kSharedGap * static_declared_.size();
  THORAX_CHECK(declared <= architecture_.shared_static && static_declared_.size() < 16,
               "[sim] {}: {} bytes of static shared memory, sm_{} has {}", kernel_, declared,
               architecture_.compute_capability, architecture_.shared_static);
  THORAX_CHECK(declared + block_.dynamic_bytes <= architecture_.shared_in_all,
               "[sim] {}: {} bytes of static and {} of dynamic shared memory, sm_{} has {}",
               kernel_, declared, block_.dynamic_bytes, architecture_.compute_capability,
               architecture_.shared_in_all);
  static_declared_.emplace_back(begin, bytes);
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(static_memory_.get() + begin, bytes);
#endif
  return static_memory_.get() + begin;
}

// What kernels call
// ----------------------------------------------------------------------------------

int block_barrier(BarrierKind kind, int predicate) {
  return Scheduler::instance().barrier(kind, predicate);
}

void warp_barrier(unsigned mask) {
  Scheduler::instance().wait_warp(mask);
}

unsigned active_mask() {
  return Scheduler::instance().live_lanes();
}

const WarpExchange& warp_exchange(unsigned mask, std::uint64_t value) {
  Scheduler& scheduler = Scheduler::instance();
  scheduler.warp().exchange.values[static_cast<std::size_t>(scheduler.current()->lane)] = value;
  scheduler.wait_warp(mask);
  return scheduler.warp().exchange;
}

// Everyone has read before anyone may write the next round.
void warp_exchange_done(unsigned mask) {
  Scheduler::instance().wait_warp(mask);
}

void warp_collective(const void* in, std::size_t in_bytes, void* out, std::size_t out_bytes,
                     const std::function<void(const unsigned char*, unsigned char*)>& combine) {
  Scheduler& scheduler = Scheduler::instance();
  Scheduler::Warp& warp = scheduler.warp();
  const auto lane = static_cast<std::size_t>(scheduler.current()->lane);
  constexpr unsigned kAll = 0xffffffffu;
  if (warp.in.size() < 32 * in_bytes) warp.in.resize(32 * in_bytes);
  if (warp.out.size() < 32 * out_bytes) warp.out.resize(32 * out_bytes);
  for (std::size_t i = 0; i < in_bytes; ++i)
    warp.in[lane * in_bytes + i] = static_cast<const unsigned char*>(in)[i];
  scheduler.wait_warp(kAll);
  if (!warp.combined) {
    combine(warp.in.data(), warp.out.data());
    warp.combined = true;
  }
  for (std::size_t i = 0; i < out_bytes; ++i)
    static_cast<unsigned char*>(out)[i] = warp.out[lane * out_bytes + i];
  scheduler.wait_warp(kAll);
  warp.combined = false;
}

void* static_shared(std::size_t bytes) {
  return Scheduler::instance().shared(bytes);
}

void* dynamic_shared_memory() {
  return Scheduler::instance().dynamic_memory();
}

void async_copy(void* to_shared, const void* from_global, int bytes, int valid) {
  require_architecture(80, "cp.async");
  Thread& thread = current_thread();
  THORAX_CHECK((bytes == 4 || bytes == 8 || bytes == 16) && valid >= 0 && valid <= bytes,
               "[sim] cp.async of {} bytes, {} valid", bytes, valid);
  THORAX_CHECK(
      reinterpret_cast<std::uintptr_t>(to_shared) % static_cast<unsigned>(bytes) == 0 &&
          (valid == 0 ||
           reinterpret_cast<std::uintptr_t>(from_global) % static_cast<unsigned>(bytes) == 0),
      "[sim] cp.async of {} bytes from or to an address that is not a multiple of it", bytes);
  DelayedCopy copy{to_shared, {}, bytes, thread.copy_group};
  std::memcpy(copy.data.data(), from_global, static_cast<std::size_t>(valid));
  thread.copies.push_back(copy);
}

void async_commit() {
  ++current_thread().copy_group;
}

void async_wait(int pending) {
  Thread& thread = current_thread();
  const int last = thread.copy_group - pending;  // groups before this one are finished
  std::erase_if(thread.copies, [&](const DelayedCopy& copy) {
    if (copy.group >= last) return false;
    std::memcpy(copy.to, copy.data.data(), static_cast<std::size_t>(copy.bytes));
    return true;
  });
}

void require_architecture(int compute_capability, const char* instruction) {
  Scheduler& scheduler = Scheduler::instance();
  THORAX_CHECK(scheduler.architecture().compute_capability >= compute_capability,
               "[sim] {}: {} needs sm_{}, the device is sm_{}", scheduler.kernel(), instruction,
               compute_capability, scheduler.architecture().compute_capability);
}

void run_grid(const char* kernel, const Architecture& architecture, const BlockShape& shape,
              const std::function<void()>& body) {
  const auto& [grid, block, dynamic] = shape;
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  THORAX_CHECK(
      threads >= 1 && threads <= 1024 && block.x <= 1024 && block.y <= 1024 && block.z <= 64,
      "[sim] {}: a block of {} x {} x {} threads; at most 1024, and 64 in z", kernel, block.x,
      block.y, block.z);
  THORAX_CHECK(grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7fffffffu &&
                   grid.y <= 65535 && grid.z <= 65535,
               "[sim] {}: a grid of {} x {} x {} blocks; at most 2147483647 x 65535 x 65535",
               kernel, grid.x, grid.y, grid.z);
  THORAX_CHECK(dynamic <= architecture.shared_in_all,
               "[sim] {}: {} bytes of dynamic shared memory, sm_{} has {}", kernel, dynamic,
               architecture.compute_capability, architecture.shared_in_all);
  log_launch(kernel, static_cast<unsigned>(threads), dynamic);
  const auto blocks = static_cast<std::int64_t>(grid.x) * grid.y * grid.z;
  const bool reversed = order.load() != Order::forward;
  const auto run = [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const auto b = static_cast<std::uint64_t>(reversed ? blocks - 1 - i : i);
      Scheduler::instance().run_block(
          kernel, architecture, shape,
          {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
           static_cast<unsigned>(b / grid.x / grid.y)},
          body);
    }
  };
  if (kFibrePerThread) {
    run(0, blocks);  // the race detector's fibres stay on one OS thread
  } else {
    parallel_for(0, blocks, std::max<std::int64_t>(1, blocks / 64), run);
  }
}

}  // namespace thorax::sim
