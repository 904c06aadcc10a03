// THORAX_SIM_LAUNCHES=FILE: every kernel that runs on a simulated device is written there once per
// launch shape, "kernel,threads,dynamic shared bytes". tests/check_kernels.sh holds the list
// against what nvcc compiled.
#include "engine/runtime/sim/launch_log.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>
#include <tuple>

#include "engine/tensor/error.h"

namespace thorax::sim {

void log_launch(const char* kernel, unsigned threads, std::size_t dynamic_shared) {
  static const char* const path = std::getenv("THORAX_SIM_LAUNCHES");
  if (path == nullptr) return;
  static std::mutex mutex;
  static std::set<std::tuple<std::string, unsigned, std::size_t>> seen;
  const std::scoped_lock lock(mutex);
  if (!seen.emplace(kernel, threads, dynamic_shared).second) return;
  // Appended line by line: several test programs write one file.
  std::FILE* file = std::fopen(path, "a");
  THORAX_CHECK(file != nullptr, "[sim] cannot write {} (THORAX_SIM_LAUNCHES)", path);
  fmt::print(file, "{},{},{}\n", kernel, threads, dynamic_shared);
  std::fclose(file);
}

}  // namespace thorax::sim
