// Loops on several threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

namespace thorax {

// Threads used by parallel_for; default: all cores (or OMP_NUM_THREADS).
int num_threads();
void set_num_threads(int count);

// Calls body(first, last) for consecutive chunks of [begin, end), each `grain` long (the last one
// shorter). Chunks depend on the range and the grain only, never on the number of threads: code
// that combines one partial result per chunk, in order, gives the same bits on any machine. Inside
// another parallel_for it runs serially. The first exception of a chunk is rethrown in the caller.
template <class Body>
void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain, const Body& body) {
  if (end <= begin) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t chunks = (end - begin + grain - 1) / grain;
  const auto run_chunk = [&](std::int64_t chunk) {
    const std::int64_t first = begin + chunk * grain;
    body(first, std::min(end, first + grain));
  };
  if (chunks == 1 || num_threads() == 1 || omp_in_parallel()) {
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) run_chunk(chunk);
    return;
  }
  std::exception_ptr error;
#pragma omp parallel for schedule(dynamic, 1) num_threads(num_threads())
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    try {
      run_chunk(chunk);
    } catch (...) {
#pragma omp critical(thorax_parallel_for_error)
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace thorax
