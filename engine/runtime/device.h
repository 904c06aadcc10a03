// Devices and what the engine asks of one: memory, copies, streams, events, graphs.
//
// Three kinds: `cpu`; `cuda`, NVIDIA GPUs; `sim`, a GPU simulated on the CPU that runs the very
// same kernels (engine/runtime/sim/README.md). The simulated device's index chooses its
// architecture: sim:0 is an RTX 2070 Super (sm_75), sim:1 an A100 (sm_80), sim:2 an H100 (sm_90).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor/dtype.h"

namespace thorax {

struct DeviceInfo {
  std::string name;            // "NVIDIA GeForce RTX 2070 SUPER"
  int compute_capability = 0;  // 75 for sm_75; 0 for the CPU
  int multiprocessors = 0;
  int max_threads_per_block = 0;
  int max_threads_per_multiprocessor = 0;
  int registers_per_multiprocessor = 0;
  std::size_t shared_per_block = 0;         // static limit, bytes
  std::size_t shared_per_block_opt_in = 0;  // limit with dynamic shared memory, bytes
  std::size_t shared_per_multiprocessor = 0;
  std::size_t memory = 0;  // bytes in all
};

// "cpu", "cuda", "cuda:1", "sim", "sim:2". Throws Error "[device] ..." naming what there is when
// the text is not a device of this build and machine.
Device parse_device(std::string_view text);
// Devices of a kind on this machine; 0 when the build lacks the kind or there is no driver.
int device_count(DeviceKind kind);
const DeviceInfo& device_info(Device device);
// The name of the machine's processor, "AMD EPYC 7B13"; "unknown" where the system does not say.
std::string processor_name();
// Every device, "cpu" first.
std::vector<Device> all_devices();
// Waits for all work on a device; errors of earlier launches are thrown here.
void synchronize(Device device);

// The device of each kind that operations run on, per thread: what a provider's priority() asks
// when it depends on the architecture. Index 0 until set.
Device current_device(DeviceKind kind);
class DeviceScope {
 public:
  explicit DeviceScope(Device device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  Device previous_;
};

// Copies between host memory and a device, within one device, or from one to another (through the
// host); in order with the kernels of the devices' compute streams. From pageable host memory the
// call returns when the source may be reused; to host memory when the data is there.
void copy_bytes(void* to, Device to_device, const void* from, Device from_device,
                std::size_t bytes);
// Sets every byte.
void fill_bytes(void* memory, Device device, int byte, std::size_t bytes);

// What a kind of device implements; one object per kind, registered at start-up. Indices are
// checked by the callers.
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;
  virtual int count() const = 0;
  virtual const DeviceInfo& info(int index) const = 0;
  // Versions of driver and runtime, "driver 12.4, runtime 12.2".
  virtual std::string versions() const { return {}; }
  virtual void synchronize(int index) = 0;
  // nullptr when memory runs out.
  virtual void* allocate(int index, std::size_t bytes) = 0;
  virtual void release(int index, void* block) noexcept = 0;
  // Host memory that copies overlap with kernels from.
  virtual void* allocate_pinned(std::size_t bytes) = 0;
  virtual void release_pinned(void* block) noexcept = 0;
  // Ordered with the compute stream; see copy_bytes.
  virtual void to_device(int index, void* to, const void* from, std::size_t bytes) = 0;
  virtual void to_host(int index, void* to, const void* from, std::size_t bytes) = 0;
  virtual void within(int index, void* to, const void* from, std::size_t bytes) = 0;
  virtual void fill(int index, void* memory, int byte, std::size_t bytes) = 0;
  // A point in the compute stream's work. A device keeps the latest kMarks marks and uploads; using
  // an older one is an Error.
  static constexpr std::uint64_t kMarks = 4096;
  virtual std::uint64_t mark(int index) = 0;
  // Uploads on a second stream (engine/runtime/staging.h): `begin_upload` starts when the compute
  // stream has passed the mark `after` and returns at once; the source must be pinned and stay
  // until `wait_upload`, which makes the caller wait. After `join_upload` the compute stream sees
  // the data.
  virtual std::uint64_t begin_upload(int index, void* to, const void* from, std::size_t bytes,
                                     std::uint64_t after) = 0;
  virtual void join_upload(int index, std::uint64_t ticket) = 0;
  virtual void wait_upload(int index, std::uint64_t ticket) = 0;
  // Time in seconds between two marks.
  virtual double seconds_between(int index, std::uint64_t first, std::uint64_t second) = 0;
  // Capture of the compute stream's launches, and replay (engine/runtime/graph.h). Capturing:
  // nothing runs until replay.
  virtual bool supports_graphs() const { return false; }
  virtual void begin_capture(int) {}
  virtual std::uint64_t end_capture(int) { return 0; }
  // Ends a capture that failed.
  virtual void abandon_capture(int) noexcept {}
  virtual void replay(int, std::uint64_t) {}
  virtual void drop_graph(int, std::uint64_t) noexcept {}
  // Kernels, copies and fills of a graph.
  virtual std::size_t graph_size(int, std::uint64_t) { return 0; }
};
void register_backend(DeviceKind kind, DeviceBackend& backend);
// Throws Error "[device] ..." when the build has none.
DeviceBackend& device_backend(DeviceKind kind);

}  // namespace thorax
