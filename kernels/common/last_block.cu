#include "kernels/common/last_block.cuh"

#include <map>
#include <mutex>

namespace thorax {
namespace THORAX_GPU {
namespace {

class Counters {
 public:
  explicit Counters(Device device) : device_(device) {
    constexpr std::size_t kBytes = kArrivalCounters * sizeof(unsigned);
    memory_ = device_backend(device.kind).allocate(device.index, kBytes);
    THORAX_CHECK(memory_ != nullptr, "[gpu] no memory for {} bytes of counters on {}", kBytes,
                 to_string(device));
    fill_bytes(memory_, device, 0, kBytes);
  }
  ~Counters() {
    // At the end of the process a GPU's driver may be gone, and frees everything itself.
    if (device_.kind == DeviceKind::sim)
      device_backend(device_.kind).release(device_.index, memory_);
  }
  Counters(const Counters&) = delete;
  Counters& operator=(const Counters&) = delete;
  unsigned* get() const { return static_cast<unsigned*>(memory_); }

 private:
  Device device_;
  void* memory_;
};

}  // namespace

unsigned* arrival_counters(Device device, unsigned groups) {
  THORAX_CHECK(groups <= kArrivalCounters, "[gpu] {} groups of blocks, of which {} can be counted",
               groups, kArrivalCounters);
#if defined(__CUDACC__)
  // One stream orders the launches of all threads of the host.
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  static std::map<int, Counters> counters;  // by the device's index
#else
  // A simulated device runs those of several threads side by side.
  static thread_local std::map<int, Counters> counters;
#endif
  return counters.try_emplace(device.index, device).first->second.get();
}

}  // namespace THORAX_GPU
}  // namespace thorax
