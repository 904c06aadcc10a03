// The sanitizers' fibre interfaces.
//
// ThreadSanitizer finds races between simulated threads because each is a fibre that it knows. The
// scheduler itself (block.cpp, fibre.cpp) is compiled without its instrumentation: it works on
// behalf of many threads and its own reads and writes are no races. THORAX_SIM_TSAN stands for
// __SANITIZE_THREAD__ there, which such a file does not have.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(THORAX_SIM_TSAN)
#include <sanitizer/tsan_interface.h>
#endif
