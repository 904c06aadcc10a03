// NVIDIA GPUs as devices of the engine. Compiled only with the CUDA toolkit; the runtime is linked
// statically, so that the program starts on a machine without a driver and has no cuda devices
// there.
#if defined(THORAX_WITH_CUDA)

#include <cuda_runtime.h>

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/runtime/cuda_stream.h"
#include "engine/runtime/device.h"
#include "engine/runtime/graph.h"

namespace thorax {
namespace {

void check(cudaError_t status, const char* what) {
  THORAX_CHECK(status == cudaSuccess, "[cuda] {}: {} ({})", what, cudaGetErrorString(status),
               cudaGetErrorName(status));
}

struct CapturedGraph {
  cudaGraphExec_t executable = nullptr;
  std::size_t nodes = 0;
};

struct PerDevice {
  DeviceInfo info;
  cudaStream_t compute = nullptr;
  cudaStream_t upload = nullptr;
  // Of the latest marks and uploads: ticket t has the event t % kMarks.
  std::array<cudaEvent_t, DeviceBackend::kMarks> events{};
  std::uint64_t tickets = 0;
  std::vector<CapturedGraph> graphs;
};

class CudaBackend final : public DeviceBackend {
 public:
  CudaBackend() {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) {
      cudaGetLastError();  // no driver or no GPU: no cuda devices
      count = 0;
    }
    devices_.resize(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) describe(i);
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
    return record(index, stream(index));
  }
  std::uint64_t begin_upload(int index, void* to, const void* from, std::size_t bytes,
                             std::uint64_t after) override {
    capture_detail::refuse({DeviceKind::cuda, index}, "an upload");
    use(index);
    PerDevice& device = at(index);
    check(cudaStreamWaitEvent(device.upload, event(index, after), 0), "upload");
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, device.upload), "upload");
    return record(index, device.upload);
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
    if (device.compute != nullptr) return;
    // Non-blocking: nothing of ours runs on the legacy stream, which would serialise the two.
    check(cudaStreamCreateWithFlags(&device.compute, cudaStreamNonBlocking), "stream");
    check(cudaStreamCreateWithFlags(&device.upload, cudaStreamNonBlocking), "stream");
  }

  std::uint64_t record(int index, cudaStream_t on) {
    PerDevice& device = at(index);
    cudaEvent_t& event = device.events[device.tickets % kMarks];
    if (event == nullptr) check(cudaEventCreate(&event), "event");
    check(cudaEventRecord(event, on), "event");
    return device.tickets++;
  }
  cudaEvent_t event(int index, std::uint64_t ticket) {
    const PerDevice& device = at(index);
    THORAX_CHECK(ticket < device.tickets && ticket + kMarks >= device.tickets,
                 "[cuda] mark {} is not among the latest {} of {}", ticket, kMarks, device.tickets);
    return device.events[ticket % kMarks];
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
  THORAX_CHECK(status == cudaSuccess,
               "[cuda] {} with {} x {} x {} blocks of {} x {} x {} threads, {} bytes of dynamic "
               "shared memory: {} ({})",
               kernel, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared,
               cudaGetErrorString(status), cudaGetErrorName(status));
}

}  // namespace cuda_detail
}  // namespace thorax

#endif
