#include "kernels/common/last_block.cuh"

#include <map>
#include <mutex>

namespace thorax {
namespace THORAX_GPU {

unsigned* arrival_counters(Device device) {
  static std::mutex mutex;
  static std::map<int, unsigned*> counters;  // by the device's index
  const std::lock_guard lock(mutex);
  unsigned*& own = counters[device.index];
  if (own == nullptr) {
    constexpr std::size_t kBytes = kArrivalCounters * sizeof(unsigned);
    void* const memory = device_backend(device.kind).allocate(device.index, kBytes);
    THORAX_CHECK(memory != nullptr, "[gpu] no memory for {} bytes of counters on {}", kBytes,
                 to_string(device));
    fill_bytes(memory, device, 0, kBytes);
    own = static_cast<unsigned*>(memory);
  }
  return own;
}

}  // namespace THORAX_GPU
}  // namespace thorax
