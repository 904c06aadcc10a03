#include "engine/runtime/parallel.h"

#include <atomic>

#include "engine/tensor/error.h"

namespace thorax {
namespace {
std::atomic<int> configured{0};
}

int num_threads() {
  const int count = configured.load(std::memory_order_relaxed);
  return count > 0 ? count : omp_get_max_threads();
}

void set_num_threads(int count) {
  THORAX_CHECK(count >= 1, "[runtime] {} threads: at least 1 is needed", count);
  configured.store(count, std::memory_order_relaxed);
  // Libraries that open their own OpenMP regions (oneDNN) follow this setting.
  omp_set_num_threads(count);
}

}  // namespace thorax
