// NVIDIA GPUs as devices of the engine. Compiled only with the CUDA toolkit; the runtime is linked
// statically, so that the program starts on a machine without a driver; it has no cuda devices
// there and knows why (missing_device.h).
#if defined(THORAX_WITH_CUDA)

#include <cuda_runtime.h>

#include <array>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/runtime/cuda_stream.h"
#include "engine/runtime/device.h"
#include "engine/runtime/graph.h"
#include "engine/runtime/missing_device.h"

namespace thorax {
namespace {

// Launches return before their kernels run: errors of these are reported by whatever asks the
// device next, a later launch or a copy.
bool is_asynchronous(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
      return true;
    default:
      return false;
  }
}

// Whether every launch waits for its kernel, so that an error is reported with the kernel's name.
bool synchronous() {
  static const bool wanted = [] {
    const char* text = std::getenv("THORAX_CUDA_SYNC");
    return text != nullptr && std::string_view(text) == "1";
  }();
  return wanted;
}

std::string reason(cudaError_t status) {
  std::string text = fmt::format("{} ({})", cudaGetErrorString(status), cudaGetErrorName(status));
  if (is_asynchronous(status) && !synchronous())
    text +=
        "; a kernel launched earlier may have made it: THORAX_CUDA_SYNC=1 waits for each and names "
        "it";
  return text;
}

void check(cudaError_t status, const char* what) {
  THORAX_CHECK(status == cudaSuccess, "[cuda] {}: {}", what, reason(status));
}

struct CapturedGraph {
  cudaGraphExec_t executable = nullptr;
  std::size_t nodes = 0;
};

// The latest marks or uploads: number n has the event n % kMarks.
struct Latest {
  std::array<cudaEvent_t, DeviceBackend::kMarks> events{};
  std::uint64_t count = 0;
};

struct PerDevice {
  DeviceInfo info;
  std::once_flag made;  // the streams
  cudaStream_t compute = nullptr;
  cudaStream_t upload = nullptr;
  std::mutex mutex;  // of what follows
  // Counted apart, so that many marks (autotuning) drop no upload.
  Latest marks, uploads;
  std::vector<CapturedGraph> graphs;
};

class CudaBackend final : public DeviceBackend {
 public:
  CudaBackend() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess) {
      cudaGetLastError();  // no driver or no GPU
      note_missing(DeviceKind::cuda, reason(status));
      return;
    }
    if (count == 0) note_missing(DeviceKind::cuda, "CUDA counts no device");
    devices_ = std::vector<PerDevice>(static_cast<std::size_t>(count));
    try {
      for (int i = 0; i < count; ++i) describe(i);
    } catch (const Error& error) {
      note_missing(DeviceKind::cuda, error.what());
      devices_ = std::vector<PerDevice>();
    }
  }
  int count() const override { return static_cast<int>(devices_.size()); }
  const DeviceInfo& info(int index) const override {
    return devices_[static_cast<std::size_t>(index)].info;
  }
  std::string versions() const override {
    int driver = 0, runtime = 0;
    check(cudaDriverGetVersion(&driver), "driver version");
    check(cudaRuntimeGetVersion(&runtime), "runtime version");
    return fmt::format("driver {}.{}, runtime {}.{}", driver / 1000, driver % 1000 / 10,
                       runtime / 1000, runtime % 1000 / 10);
  }
  void synchronize(int index) override {
    capture_detail::refuse({DeviceKind::cuda, index}, "waiting for the device");
    use(index);
    check(cudaDeviceSynchronize(), "an earlier kernel or copy failed");
  }
  void* allocate(int index, std::size_t bytes) override {
    capture_detail::refuse({DeviceKind::cuda, index}, "memory from the system");
    use(index);
    void* block = nullptr;
    if (cudaMalloc(&block, bytes == 0 ? 1 : bytes) != cudaSuccess) {
      cudaGetLastError();
      return nullptr;
    }
    return block;
  }
  void release(int index, void* block) noexcept override {
    cudaSetDevice(index);
    cudaFree(block);
  }
  void* allocate_pinned(std::size_t bytes) override {
    capture_detail::refuse(DeviceKind::cuda, "memory from the system");
    void* block = nullptr;
    check(cudaMallocHost(&block, bytes == 0 ? 1 : bytes), "pinned host memory");
    capture_detail::note_pinned(block, bytes);
    return block;
  }
  void release_pinned(void* block) noexcept override {
    capture_detail::forget_pinned(block);
    cudaFreeHost(block);
  }
  void to_device(int index, void* to, const void* from, std::size_t bytes) override {
    capture_detail::refuse_pageable({DeviceKind::cuda, index}, from, bytes);
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream(index)),
          "copy to device");
  }
  void to_host(int index, void* to, const void* from, std::size_t bytes) override {
    capture_detail::refuse({DeviceKind::cuda, index}, "a copy to the host");
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream(index)), "copy to host");
    check(cudaStreamSynchronize(stream(index)), "copy to host");
  }
  void within(int index, void* to, const void* from, std::size_t bytes) override {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream(index)), "copy");
  }
  void fill(int index, void* memory, int byte, std::size_t bytes) override {
    check(cudaMemsetAsync(memory, byte, bytes, stream(index)), "fill");
  }
  std::uint64_t mark(int index) override {
    capture_detail::refuse({DeviceKind::cuda, index}, "a mark");
    return record(at(index).marks, at(index), stream(index)) * 2;
  }
  std::uint64_t begin_upload(int index, void* to, const void* from, std::size_t bytes,
                             std::uint64_t after) override {
    capture_detail::refuse({DeviceKind::cuda, index}, "an upload");
    use(index);
    PerDevice& device = at(index);
    check(cudaStreamWaitEvent(device.upload, event(index, after, true), 0), "upload");
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, device.upload), "upload");
    return record(device.uploads, device, device.upload) * 2 + 1;
  }
  void join_upload(int index, std::uint64_t ticket) override {
    capture_detail::refuse({DeviceKind::cuda, index}, "an upload");
    check(cudaStreamWaitEvent(stream(index), event(index, ticket), 0), "upload");
  }
  void wait_upload(int index, std::uint64_t ticket) override {
    capture_detail::refuse({DeviceKind::cuda, index}, "waiting for an upload");
    check(cudaEventSynchronize(event(index, ticket)), "upload");
  }
  double seconds_between(int index, std::uint64_t first, std::uint64_t second) override {
    capture_detail::refuse({DeviceKind::cuda, index}, "waiting for a mark");
    check(cudaEventSynchronize(event(index, second)), "timing");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, event(index, first), event(index, second)), "timing");
    return static_cast<double>(milliseconds) / 1000;
  }
  bool supports_graphs() const override { return true; }
  void begin_capture(int index) override {
    check(cudaStreamBeginCapture(stream(index), cudaStreamCaptureModeThreadLocal), "graph capture");
  }
  std::uint64_t end_capture(int index) override {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream(index), &graph), "graph capture");
    std::size_t nodes = 0;
    cudaGraphExec_t executable = nullptr;
    cudaError_t status = cudaGraphGetNodes(graph, nullptr, &nodes);
    if (status == cudaSuccess) status = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "graph instantiation");
    const std::scoped_lock lock(at(index).mutex);
    at(index).graphs.push_back({executable, nodes});
    return at(index).graphs.size() - 1;
  }
  void abandon_capture(int index) noexcept override {
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(at(index).compute, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();  // the capture's own
  }
  void replay(int index, std::uint64_t graph) override {
    check(cudaGraphLaunch(at(index).graphs.at(graph).executable, stream(index)), "graph launch");
  }
  void drop_graph(int index, std::uint64_t graph) noexcept override {
    CapturedGraph& captured = at(index).graphs[graph];
    if (captured.executable != nullptr) cudaGraphExecDestroy(captured.executable);
    captured = {};
  }
  std::size_t graph_size(int index, std::uint64_t graph) override {
    return at(index).graphs.at(graph).nodes;
  }

  cudaStream_t stream(int index) {
    use(index);
    return at(index).compute;
  }

 private:
  PerDevice& at(int index) { return devices_[static_cast<std::size_t>(index)]; }

  void use(int index) {
    check(cudaSetDevice(index), "choosing a device");
    PerDevice& device = at(index);
    // Once, whoever comes first. Non-blocking: nothing of ours runs on the legacy stream, which
    // would serialise the two.
    std::call_once(device.made, [&] {
      check(cudaStreamCreateWithFlags(&device.compute, cudaStreamNonBlocking), "stream");
      check(cudaStreamCreateWithFlags(&device.upload, cudaStreamNonBlocking), "stream");
    });
  }

  static std::uint64_t record(Latest& latest, PerDevice& device, cudaStream_t on) {
    const std::scoped_lock lock(device.mutex);
    cudaEvent_t& event = latest.events[latest.count % kMarks];
    if (event == nullptr) check(cudaEventCreate(&event), "event");
    check(cudaEventRecord(event, on), "event");
    return latest.count++;
  }
  // `to_wait`: for a mark that is no longer kept the oldest that is serves, too; it came later on
  // the same stream.
  cudaEvent_t event(int index, std::uint64_t ticket, bool to_wait = false) {
    PerDevice& device = at(index);
    const std::scoped_lock lock(device.mutex);
    const bool upload = ticket % 2 != 0;
    const Latest& latest = upload ? device.uploads : device.marks;
    const std::uint64_t number = ticket / 2;
    const bool kept = number + kMarks >= latest.count;
    THORAX_CHECK(number < latest.count && (kept || (to_wait && !upload)),
                 "[cuda] {} {} is not among the latest {} of {}", upload ? "upload" : "mark",
                 number, kMarks, latest.count);
    return latest.events[(kept ? number : latest.count) % kMarks];
  }

  void describe(int index) {
    cudaDeviceProp p{};
    check(cudaGetDeviceProperties(&p, index), "device properties");
    DeviceInfo& info = at(index).info;
    info.name = p.name;
    info.compute_capability = p.major * 10 + p.minor;
    info.multiprocessors = p.multiProcessorCount;
    info.max_threads_per_block = p.maxThreadsPerBlock;
    info.max_threads_per_multiprocessor = p.maxThreadsPerMultiProcessor;
    info.registers_per_multiprocessor = p.regsPerMultiprocessor;
    info.shared_per_block = p.sharedMemPerBlock;
    info.shared_per_block_opt_in = p.sharedMemPerBlockOptin;
    info.shared_per_multiprocessor = p.sharedMemPerMultiprocessor;
    info.memory = p.totalGlobalMem;
  }

  std::vector<PerDevice> devices_;
};

CudaBackend& backend() {
  // Never destroyed: the driver may be gone when static objects are.
  static CudaBackend& instance = *new CudaBackend;
  return instance;
}

[[maybe_unused]] const bool registered = [] {
  register_backend(DeviceKind::cuda, backend());
  return true;
}();

}  // namespace

namespace cuda_detail {

cudaStream_t compute_stream(int index) {
  return backend().stream(index);
}

void check_launch(cudaError_t status, const char* kernel, dim3 grid, dim3 block,
                  std::size_t shared) {
  if (status == cudaSuccess && synchronous()) {
    int index = 0;
    check(cudaGetDevice(&index), "the current device");
    // While a graph is captured nothing runs that could be waited for.
    if (!capturing({DeviceKind::cuda, index}))
      status = cudaStreamSynchronize(backend().stream(index));
  }
  THORAX_CHECK(status == cudaSuccess,
               "[cuda] {} with {} x {} x {} blocks of {} x {} x {} threads, {} bytes of dynamic "
               "shared memory: {}",
               kernel, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared, reason(status));
}

}  // namespace cuda_detail
}  // namespace thorax

#endif
