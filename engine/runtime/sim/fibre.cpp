#include "engine/runtime/sim/fibre.h"

#include <sys/mman.h>
#include <unistd.h>

#include "engine/runtime/sim/sanitizer.h"
#include "engine/tensor/error.h"

namespace thorax::sim {
namespace {

namespace context = boost::context::detail;

#if defined(__SANITIZE_ADDRESS__) || defined(THORAX_SIM_TSAN)
constexpr std::size_t kStackBytes = 256 * 1024;  // red zones and uninlined frames
#else
constexpr std::size_t kStackBytes = 64 * 1024;
#endif

}  // namespace

Fibre::Fibre(void (*entry)(void*), void* argument) : entry_(entry), argument_(argument) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  mapping_bytes_ = kStackBytes + page;
  void* memory =
      mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  THORAX_CHECK(memory != MAP_FAILED, "[sim] no memory for the stack of a simulated thread");
  mapping_ = static_cast<unsigned char*>(memory);
  // A kernel that overruns its stack shall crash at once, not corrupt its neighbour.
  mprotect(mapping_, page, PROT_NONE);
  self_ = context::make_fcontext(mapping_ + mapping_bytes_, kStackBytes, &Fibre::start);
#if defined(THORAX_SIM_TSAN)
  tsan_self_ = __tsan_create_fiber(0);
#endif
}

Fibre::~Fibre() {
#if defined(THORAX_SIM_TSAN)
  __tsan_destroy_fiber(tsan_self_);
#endif
  munmap(mapping_, mapping_bytes_);
}

void Fibre::start(context::transfer_t transfer) {
  auto* fibre = static_cast<Fibre*>(transfer.data);
  fibre->scheduler_ = transfer.fctx;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &fibre->scheduler_stack_,
                                  &fibre->scheduler_stack_bytes_);
#endif
  fibre->entry_(fibre->argument_);
  for (;;) fibre->leave();  // entry never returns in practice; entering again is harmless
}

void Fibre::enter() {
#if defined(THORAX_SIM_TSAN)
  tsan_scheduler_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(tsan_self_, 1);  // 1: a switch is no synchronisation
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&scheduler_fake_stack_, mapping_ + mapping_bytes_ - kStackBytes,
                                 kStackBytes);
#endif
  const context::transfer_t back = context::jump_fcontext(self_, this);
  self_ = back.fctx;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(scheduler_fake_stack_, nullptr, nullptr);
#endif
}

void Fibre::leave() {
#if defined(THORAX_SIM_TSAN)
  __tsan_switch_to_fiber(tsan_scheduler_, 1);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fake_stack_, scheduler_stack_, scheduler_stack_bytes_);
#endif
  const context::transfer_t again = context::jump_fcontext(scheduler_, this);
  scheduler_ = again.fctx;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, &scheduler_stack_, &scheduler_stack_bytes_);
#endif
}

// The detector's notion of who is running is a label, which the scheduler may borrow.
void Fibre::publish([[maybe_unused]] char* sync, [[maybe_unused]] bool first) {
#if defined(THORAX_SIM_TSAN)
  void* const scheduler = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(tsan_self_, 1);
  if (first) {
    __tsan_atomic8_store(reinterpret_cast<unsigned char*>(sync), 0, __ATOMIC_RELEASE);
  } else {
    __tsan_release(sync);
  }
  __tsan_switch_to_fiber(scheduler, 1);
#endif
}

void Fibre::observe([[maybe_unused]] char* sync) {
#if defined(THORAX_SIM_TSAN)
  void* const scheduler = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(tsan_self_, 1);
  __tsan_acquire(sync);
  __tsan_switch_to_fiber(scheduler, 1);
#endif
}

}  // namespace thorax::sim
