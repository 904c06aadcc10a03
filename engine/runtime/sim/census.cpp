#include "engine/runtime/sim/census.h"

#include "engine/runtime/profile.h"
#include "engine/tensor/error.h"

namespace thorax::sim {
namespace {
thread_local Census* running = nullptr;
}

Census::Census() {
  THORAX_CHECK(running == nullptr, "[census] one is running on this thread already");
  running = this;
}

Census::~Census() {
  running = nullptr;
}

bool census_runs() {
  return running != nullptr;
}

bool counted(const char* kernel, std::uint64_t blocks, unsigned threads,
             std::size_t dynamic_shared) {
  if (running == nullptr) return false;
  running->launches_.push_back(
      {std::string(current_operation()), kernel, blocks, threads, dynamic_shared});
  return true;
}

}  // namespace thorax::sim
