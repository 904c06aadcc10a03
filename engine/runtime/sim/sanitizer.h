// The sanitizers' fibre interfaces.
//
// ThreadSanitizer finds races between simulated threads because each is a fibre that it knows, and
// because the fibres are ordered by nothing but what orders threads in CUDA. The scheduler itself
// (block.cpp, fibre.cpp) is compiled without its instrumentation: it works on behalf of many
// threads and its own reads and writes are no races. THORAX_SIM_TSAN stands for __SANITIZE_THREAD__
// there, which such a file does not have.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(THORAX_SIM_TSAN)
#include <sanitizer/tsan_interface.h>
extern "C" {  // of the run-time library; declared in no header
void __tsan_ignore_thread_begin();
void __tsan_ignore_thread_end();
void __tsan_read_range(void* begin, unsigned long bytes);
void __tsan_write_range(void* begin, unsigned long bytes);
void __tsan_atomic8_store(volatile unsigned char* to, unsigned char value, int memory_order);
}
#endif

namespace thorax::sim {

// While it lives, the race detector overlooks what the calling thread does: also what inline
// functions do that the linker took from an instrumented file, and the memory functions, which the
// detector replaces everywhere. No fibre may be left meanwhile.
class Unwatched {
 public:
#if defined(THORAX_SIM_TSAN)
  Unwatched() {
    __tsan_ignore_thread_begin();
  }
  ~Unwatched() {
    __tsan_ignore_thread_end();
  }
#else
  Unwatched() {}
  ~Unwatched() {}
#endif
  Unwatched(const Unwatched&) = delete;
  Unwatched& operator=(const Unwatched&) = delete;
};

// An access that the calling thread's kernel makes through the simulator.
inline void watched_read([[maybe_unused]] const void* begin, [[maybe_unused]] std::size_t bytes) {
#if defined(THORAX_SIM_TSAN)
  if (bytes > 0) __tsan_read_range(const_cast<void*>(begin), bytes);
#endif
}
inline void watched_write([[maybe_unused]] void* begin, [[maybe_unused]] std::size_t bytes) {
#if defined(THORAX_SIM_TSAN)
  if (bytes > 0) __tsan_write_range(begin, bytes);
#endif
}

}  // namespace thorax::sim
