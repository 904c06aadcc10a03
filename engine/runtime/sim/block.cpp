#include "engine/runtime/sim/block.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <string_view>
#include <utility>

#include "engine/runtime/parallel.h"
#include "engine/runtime/philox.h"
#include "engine/runtime/sim/census.h"
#include "engine/runtime/sim/fibre.h"
#include "engine/runtime/sim/launch_log.h"
#include "engine/runtime/sim/sanitizer.h"
#include "engine/runtime/sim/scheduler.h"
#include "engine/tensor/error.h"

namespace thorax::sim {
namespace {

std::atomic<Order> order{Order::forward};
std::atomic<std::uint64_t> order_seed{0};

// THORAX_SIM_ORDER: forward (the default), reverse or random:SEED.
void read_environment() {
  const char* text = std::getenv("THORAX_SIM_ORDER");
  const std::string_view wanted = text == nullptr ? "forward" : text;
  constexpr std::string_view kRandom = "random:";
  if (wanted == "forward") return;
  if (wanted == "reverse") {
    order = Order::reverse;
    return;
  }
  std::uint64_t seed = 0;
  const char* end = wanted.data() + wanted.size();
  bool number = wanted.starts_with(kRandom);
  if (number) {
    const auto [rest, error] = std::from_chars(wanted.data() + kRandom.size(), end, seed);
    number = error == std::errc() && rest == end;
  }
  THORAX_CHECK(number,
               "[sim] THORAX_SIM_ORDER is '{}': must be forward, reverse or random:SEED, SEED a "
               "whole number",
               wanted);
  order = Order::random;
  order_seed = seed;
}

void read_environment_once() {
  static const bool done = [] {
    read_environment();
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace

void set_order(Order wanted, std::uint64_t seed) {
  read_environment_once();  // or it would have the last word
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
  const Unwatched scheduling;
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
  if (kFibrePerThread) {
    // The parity of a number's one bits is as irregular as a sequence of two symbols can be: at any
    // distance there are blocks with different sets.
    set_ = static_cast<std::size_t>(std::popcount(block_number)) % 2;
    // Every thread of a block has a fibre of its own.
    Fibres& fibres = fibres_[set_];
    fibres.idle.clear();
    for (auto fibre = fibres.all.rbegin(); fibre != fibres.all.rend(); ++fibre)
      fibres.idle.push_back(fibre->get());
  }
  // First everyone runs up to the first wait; a fibre whose thread ends takes the next thread, so
  // that kernels without barriers never switch.
  while (next_ < order_.size() && !error_) resume(*idle_fibre());
  while (!error_ && release()) {
    for (std::size_t i = 0; i < order_.size() && !error_; ++i) {
      Thread& thread = threads_[static_cast<std::size_t>(order_[i])];
      if (thread.state == Thread::State::running) resume(*thread.worker);
    }
  }
  if (error_) {
    end_grid();
    for (Fibres& fibres : fibres_)
      fibres = {};  // suspended stacks are given up; kernels own nothing
    const std::exception_ptr error = error_;
    error_ = nullptr;
    std::rethrow_exception(error);
  }
}

void Scheduler::begin_grid() {
#if defined(THORAX_SIM_TSAN)
  ++grid_;
  __tsan_release(&grid_sync_);
#endif
}

void Scheduler::end_grid() {
#if defined(THORAX_SIM_TSAN)
  for (Fibres& fibres : fibres_)
    for (const auto& worker : fibres.all)
      if (worker->grid == grid_) worker->fibre->publish(&grid_sync_, false);
  __tsan_acquire(&grid_sync_);
#endif
}

// What each thread of together_ did before is known to all of them.
void Scheduler::synchronise() {
  bool first = true;
  for (Worker* worker : together_)
    worker->fibre->publish(&barrier_sync_, std::exchange(first, false));
  for (Worker* worker : together_) worker->fibre->observe(&barrier_sync_);
  together_.clear();
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
  static_bytes_ = architecture_.shared_static + 16 * kSharedGap;
  static_memory_ = poisoned(static_bytes_);
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(static_memory_.get(), static_bytes_);
#endif
}

Worker* Scheduler::idle_fibre() {
  auto& [all, idle] = fibres_[set_];
  if (idle.empty()) {
    all.push_back(std::make_unique<Worker>());
    Worker* worker = all.back().get();
    worker->fibre = std::make_unique<Fibre>(&Scheduler::work, worker);
    return worker;
  }
  Worker* worker = idle.back();
  idle.pop_back();
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
    while (Thread* thread = self.start_thread(*worker)) {
      try {
        (*self.body_)();
        self.finish(*thread);
      } catch (...) {
        self.error_ = std::current_exception();
      }
      if (kFibrePerThread) break;  // the race detector tells threads apart by their fibre
    }
    self.rest(*worker);
    worker->fibre->leave();
  }
}

Thread* Scheduler::start_thread(Worker& worker) {
  const Unwatched scheduling;
  if (next_ >= order_.size() || error_) return nullptr;
  Thread& thread = threads_[static_cast<std::size_t>(order_[next_++])];
  thread.state = Thread::State::running;
  thread.worker = &worker;
  worker.thread = &thread;
  current_ = &thread;
#if defined(THORAX_SIM_TSAN)
  if (std::exchange(worker.grid, grid_) != grid_) __tsan_acquire(&grid_sync_);
#endif
  return &thread;
}

void Scheduler::rest(Worker& worker) {
  const Unwatched scheduling;
  worker.thread = nullptr;
  if (!kFibrePerThread) fibres_[set_].idle.push_back(&worker);
}

void Scheduler::finish(Thread& thread) {
  const Unwatched scheduling;
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
      if (threads_[i].state == Thread::State::at_barrier) go_on(threads_[i]);
    synchronise();
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

void Scheduler::go_on(Thread& thread) {
  thread.state = Thread::State::running;
  if (kFibrePerThread) together_.push_back(thread.worker);
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
      if ((mask >> other & 1u) != 0) go_on(threads_[w * 32 + other]);
    if ((warp.memory & mask) == mask) synchronise();
    together_.clear();
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
  {
    const Unwatched scheduling;
    THORAX_CHECK(waiting_ == 0 || kind == barrier_kind_,
                 "[sim] {}: thread {} is at another kind of __syncthreads than the others", kernel_,
                 where(thread));
    barrier_kind_ = kind;
    barrier_count_ += predicate != 0;
    ++waiting_;
    thread.state = Thread::State::at_barrier;
  }
  suspend(thread);
  return barrier_result_;
}

void Scheduler::wait_warp(unsigned mask, bool memory) {
  Thread& thread = *current_;
  {
    const Unwatched scheduling;
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
    const unsigned lane = 1u << thread.lane;
    warp.arrived |= lane;
    warp.memory = memory ? warp.memory | lane : warp.memory & ~lane;
  }
  suspend(thread);
}

unsigned Scheduler::live_lanes() const {
  return warps_[static_cast<std::size_t>(current_->warp)].live;
}

Scheduler::Warp& Scheduler::warp() {
  return warps_[static_cast<std::size_t>(current_->warp)];
}

void* Scheduler::shared(std::size_t bytes) {
  const Unwatched scheduling;
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

Space Scheduler::space_of(const void* address) const {
  const auto* at = static_cast<const unsigned char*>(address);
  const auto within = [&](const Memory& memory, std::size_t bytes) {
    return at >= memory.get() && at < memory.get() + bytes;
  };
  if (within(static_memory_, static_bytes_) || within(dynamic_memory_, block_.dynamic_bytes))
    return Space::shared;
  return current_->worker->fibre->on_stack(address) ? Space::local : Space::global;
}

void check_launch(const char* kernel, const Architecture& architecture, const BlockShape& shape) {
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
}

void run_grid(const char* kernel, const Architecture& architecture, const BlockShape& shape,
              const std::function<void()>& body) {
  read_environment_once();
  check_launch(kernel, architecture, shape);
  const auto& [grid, block, dynamic] = shape;
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  log_launch(kernel, static_cast<unsigned>(threads), dynamic);
  const auto blocks = static_cast<std::int64_t>(grid.x) * grid.y * grid.z;
  if (counted(kernel, static_cast<std::uint64_t>(blocks), static_cast<unsigned>(threads), dynamic))
    return;
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
    // The race detector's fibres stay on one OS thread.
    Scheduler::instance().begin_grid();
    run(0, blocks);
    Scheduler::instance().end_grid();
  } else {
    parallel_for(0, blocks, std::max<std::int64_t>(1, blocks / 64), run);
  }
}

}  // namespace thorax::sim
