// A stack that can be left and entered again. Boost.Context switches; the sanitizers are told.
#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>

namespace thorax::sim {

// Runs `entry(argument)` on a stack of its own. The scheduler enters; the fibre leaves. Not thread
// safe: a fibre stays on the OS thread that made it.
class Fibre {
 public:
  Fibre(void (*entry)(void*), void* argument);
  ~Fibre();
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  // From the scheduler: continues where the fibre left; returns when it leaves again.
  void enter();
  // From the fibre: back to the scheduler.
  void leave();

  bool on_stack(const void* address) const {
    const auto* at = static_cast<const unsigned char*>(address);
    return at >= mapping_ && at < mapping_ + mapping_bytes_;
  }

  // For the race detector; the fibre is suspended. What it did before publish() is known to every
  // fibre or thread that acquires `sync` later; what others published there, to it after observe().
  // `first` forgets what was published before.
  void publish(char* sync, bool first);
  void observe(char* sync);

 private:
  static void start(boost::context::detail::transfer_t transfer);

  void (*entry_)(void*);
  void* argument_;
  unsigned char* mapping_ = nullptr;  // guard page, then the stack
  std::size_t mapping_bytes_ = 0;
  boost::context::detail::fcontext_t self_ = nullptr;
  boost::context::detail::fcontext_t scheduler_ = nullptr;
  // For the sanitizers.
  const void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_bytes_ = 0;
  void* fake_stack_ = nullptr;
  void* scheduler_fake_stack_ = nullptr;
  void* tsan_self_ = nullptr;
  void* tsan_scheduler_ = nullptr;
};

}  // namespace thorax::sim
