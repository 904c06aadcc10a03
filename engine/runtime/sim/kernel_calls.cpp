// What a kernel calls while it runs.
#include <algorithm>
#include <cstring>

#include "engine/runtime/sim/block.h"
#include "engine/runtime/sim/sanitizer.h"
#include "engine/runtime/sim/scheduler.h"
#include "engine/tensor/error.h"

namespace thorax::sim {

Thread& current_thread() {
  return *Scheduler::instance().current();
}

int block_barrier(BarrierKind kind, int predicate) {
  return Scheduler::instance().barrier(kind, predicate);
}

void fence() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
#if defined(THORAX_SIM_TSAN)
  // Fences are in one order, so that each is after all earlier ones.
  static char fences;
  __tsan_acquire(&fences);
  __tsan_release(&fences);
#endif
}
void warp_barrier(unsigned mask) {
  Scheduler::instance().wait_warp(mask, true);
}

unsigned active_mask() {
  return Scheduler::instance().live_lanes();
}

const WarpExchange& warp_exchange(unsigned mask, std::uint64_t value) {
  Scheduler& scheduler = Scheduler::instance();
  WarpExchange& exchange = scheduler.warp().exchange;
  {
    const Unwatched scheduling;
    exchange.values[static_cast<std::size_t>(scheduler.current()->lane)] = value;
  }
  scheduler.wait_warp(mask, false);
  return exchange;
}

// Everyone has read before anyone may write the next round.
void warp_exchange_done(unsigned mask) {
  Scheduler::instance().wait_warp(mask, false);
}

void warp_collective(const void* in, std::size_t in_bytes, void* out, std::size_t out_bytes,
                     const std::function<void(const unsigned char*, unsigned char*)>& combine) {
  Scheduler& scheduler = Scheduler::instance();
  Scheduler::Warp& warp = scheduler.warp();
  const auto lane = static_cast<std::size_t>(scheduler.current()->lane);
  constexpr unsigned kAll = 0xffffffffu;
  {
    const Unwatched scheduling;
    if (warp.in.size() < 32 * in_bytes) warp.in.resize(32 * in_bytes);
    if (warp.out.size() < 32 * out_bytes) warp.out.resize(32 * out_bytes);
    std::memcpy(warp.in.data() + lane * in_bytes, in, in_bytes);
  }
  scheduler.wait_warp(kAll, false);
  {
    const Unwatched scheduling;
    if (!warp.combined) {
      combine(warp.in.data(), warp.out.data());
      warp.combined = true;
    }
    std::memcpy(out, warp.out.data() + lane * out_bytes, out_bytes);
  }
  scheduler.wait_warp(kAll, false);
  warp.combined = false;
}

void* static_shared(std::size_t bytes) {
  return Scheduler::instance().shared(bytes);
}

void* dynamic_shared_memory() {
  return Scheduler::instance().dynamic_memory();
}

Space space_of(const void* address) {
  const Unwatched scheduling;
  return Scheduler::instance().space_of(address);
}

namespace {
[[noreturn]] void wrong_space(const char* instruction, Space found, const char* wanted) {
  const Scheduler& scheduler = Scheduler::instance();
  fail("[sim] {}: thread {}: {} an address in {} memory; it takes {}", scheduler.kernel(),
       scheduler.where(*scheduler.current()), instruction,
       found == Space::shared  ? "shared"
       : found == Space::local ? "local"
                               : "global",
       wanted);
}
}  // namespace

void require_global(const void* address, const char* instruction) {
  const Space space = space_of(address);
  if (space != Space::global) wrong_space(instruction, space, "global memory only");
}
void require_shared(const void* address, const char* instruction) {
  const Space space = space_of(address);
  if (space != Space::shared) wrong_space(instruction, space, "shared memory only");
}
void refuse_local(const void* address, const char* instruction) {
  if (space_of(address) == Space::local)
    wrong_space(instruction, Space::local, "global or shared memory");
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
  require_shared(to_shared, "cp.async to");
  if (valid > 0) require_global(from_global, "cp.async from");
  watched_read(from_global, static_cast<std::size_t>(valid));
  watched_write(to_shared, static_cast<std::size_t>(bytes));
  const Unwatched scheduling;
  DelayedCopy copy{to_shared, {}, bytes, thread.copy_group};
  if (valid > 0) std::memcpy(copy.data.data(), from_global, static_cast<std::size_t>(valid));
  thread.copies.push_back(copy);
  // From now on the copy may arrive: what was there is no longer to be relied on.
  std::memset(to_shared, 0xff, static_cast<std::size_t>(bytes));
}

void async_commit() {
  ++current_thread().copy_group;
}

void async_wait(int pending) {
  Thread& thread = current_thread();
  const int last = thread.copy_group - pending;  // groups before this one are finished
  for (const DelayedCopy& copy : thread.copies)
    if (copy.group < last) watched_write(copy.to, static_cast<std::size_t>(copy.bytes));
  const Unwatched scheduling;
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

}  // namespace thorax::sim
