// Stands in for OpenMP's header where the harnesses are built by clang, which has no OpenMP runtime
// of its own in Debian's package: a parser on one thread.
#pragma once

inline int omp_get_max_threads() {
  return 1;
}
inline int omp_get_thread_num() {
  return 0;
}
inline int omp_in_parallel() {
  return 0;
}
inline void omp_set_num_threads(int) {}
