// The simulated device as a device of the engine.
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

#include "engine/runtime/device.h"
#include "engine/runtime/graph.h"
#include "engine/runtime/ptx/machine.h"
#include "engine/runtime/ptx_devices.h"
#include "engine/runtime/sim/block.h"
#include "engine/runtime/sim/capture.h"
#include "engine/runtime/sim/census.h"
#include "engine/runtime/sim/graphs.h"

namespace thorax {
namespace {

// Limits as in the CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
DeviceInfo describe(const char* name, int capability, int multiprocessors, int threads,
                    std::size_t opt_in_kb, std::size_t shared_kb, std::size_t memory_gb) {
  DeviceInfo info;
  info.name = name;
  info.compute_capability = capability;
  info.multiprocessors = multiprocessors;
  info.max_threads_per_block = 1024;
  info.max_threads_per_multiprocessor = threads;
  info.registers_per_multiprocessor = 65536;
  info.shared_per_block = 48 * 1024;
  info.shared_per_block_opt_in = opt_in_kb * 1024;
  info.shared_per_multiprocessor = shared_kb * 1024;
  info.memory = memory_gb << 30;
  return info;
}

// Each card twice: first those that run the kernels' source, then those that execute their PTX.
const std::array<DeviceInfo, 2 * kFirstPtx>& simulated() {
  static const auto devices = [] {
    std::array<DeviceInfo, 2 * kFirstPtx> all{
        describe("simulated RTX 2070 Super", 75, 40, 1024, 64, 64, 8),
        describe("simulated A100", 80, 108, 2048, 163, 164, 40),
        describe("simulated H100", 90, 132, 2048, 227, 228, 80)};
    for (std::size_t i = 0; i < kFirstPtx; ++i) {
      all[kFirstPtx + i] = all[i];
      all[kFirstPtx + i].name += ", executing PTX";
    }
    return all;
  }();
  return devices;
}

// Whether there is PTX to execute.
bool have_ptx() {
  static const bool found = [] {
    std::string why;
    const bool there = !ptx::find_folder(why).empty();
    if (!there) note_no_ptx(std::move(why));
    return there;
  }();
  return found;
}

constexpr Device sim_device(int index) {
  return {DeviceKind::sim, index};
}

// Kernels and copies run at once, in the caller: one stream that is always finished. While a graph
// is captured they are recorded instead.
class SimBackend final : public DeviceBackend {
 public:
  int count() const override {
    return have_ptx() ? static_cast<int>(simulated().size()) : kFirstPtx;
  }
  const DeviceInfo& info(int index) const override {
    return simulated()[static_cast<std::size_t>(index)];
  }
  void synchronize(int index) override {
    capture_detail::refuse(sim_device(index), "waiting for the device");
  }
  // Every block of memory is an allocation of its own, so that AddressSanitizer sees an index past
  // its end.
  void* allocate(int index, std::size_t bytes) override {
    void* block = host_block(bytes);
    if (block != nullptr) {
      graphs_.allocated(block, bytes);
      if (is_ptx(sim_device(index))) ptx::note_memory(block, bytes);
    }
    return block;
  }
  void release(int index, void* block) noexcept override {
    if (is_ptx(sim_device(index))) ptx::forget_memory(block);
    graphs_.released(block);
    std::free(block);
  }
  void* allocate_pinned(std::size_t bytes) override {
    capture_detail::refuse(DeviceKind::sim, "memory from the system");
    void* block = host_block(bytes);
    if (block == nullptr) return nullptr;
    capture_detail::note_pinned(block, bytes);
    graphs_.allocated(block, bytes);
    return block;
  }
  void release_pinned(void* block) noexcept override {
    capture_detail::forget_pinned(block);
    graphs_.released(block);
    std::free(block);
  }
  void to_device(int index, void* to, const void* from, std::size_t bytes) override {
    capture_detail::refuse_pageable(sim_device(index), from, bytes);
    run(index, "copy to device", to, from, [=] { std::memcpy(to, from, bytes); });
  }
  void to_host(int index, void* to, const void* from, std::size_t bytes) override {
    capture_detail::refuse(sim_device(index), "a copy to the host");
    std::memcpy(to, from, bytes);
  }
  void within(int index, void* to, const void* from, std::size_t bytes) override {
    if (sim::counted("copy", 1, 1, 0)) return;
    run(index, "copy", to, from, [=] { std::memmove(to, from, bytes); });
  }
  void fill(int index, void* memory, int byte, std::size_t bytes) override {
    // 0xff is the allocator's mark of memory that nobody wrote, which no GPU makes.
    if (sim::census_runs()) {
      if (byte != 0xff) sim::counted("fill", 1, 1, 0);
      return;
    }
    run(index, "fill", memory, memory, [=] { std::memset(memory, byte, bytes); });
  }
  std::uint64_t mark(int index) override {
    capture_detail::refuse(sim_device(index), "a mark");
    return next(marks_, {});
  }

  bool supports_graphs() const override { return true; }
  void begin_capture(int index) override { graphs_.begin(index); }
  std::uint64_t end_capture(int index) override { return graphs_.end(index); }
  void abandon_capture(int index) noexcept override { graphs_.abandon(index); }
  void replay(int, std::uint64_t graph) override { graphs_.replay(graph); }
  void drop_graph(int, std::uint64_t graph) noexcept override { graphs_.drop(graph); }
  std::size_t graph_size(int, std::uint64_t graph) override { return graphs_.size(graph); }
  sim::Graphs& graphs() { return graphs_; }

  // The source is read when somebody waits for the copy, and the target written when it is joined:
  // a source that changes too early and a missing join show.
  std::uint64_t begin_upload(int index, void* to, const void* from, std::size_t bytes,
                             std::uint64_t after) override {
    capture_detail::refuse(sim_device(index), "an upload");
    // What came before a mark has run.
    if (is_upload(after)) with(after, [](Entry&) {});
    return next(uploads_, {.to = to, .from = from, .bytes = bytes});
  }
  void join_upload(int index, std::uint64_t ticket) override {
    capture_detail::refuse(sim_device(index), "an upload");
    with(ticket, [](Entry& e) {
      e.read();
      if (e.to != nullptr && !e.data.empty()) std::memcpy(e.to, e.data.data(), e.data.size());
      e.to = nullptr;
      e.data = {};
    });
  }
  void wait_upload(int index, std::uint64_t ticket) override {
    capture_detail::refuse(sim_device(index), "waiting for an upload");
    with(ticket, [](Entry& e) { e.read(); });
  }
  double seconds_between(int index, std::uint64_t first, std::uint64_t second) override {
    capture_detail::refuse(sim_device(index), "waiting for a mark");
    std::chrono::steady_clock::time_point a, b;
    with(first, [&](Entry& e) { a = e.time; });
    with(second, [&](Entry& e) { b = e.time; });
    return std::chrono::duration<double>(b - a).count();
  }

 private:
  // A mark, or an upload.
  struct Entry {
    std::chrono::steady_clock::time_point time = std::chrono::steady_clock::now();
    void* to = nullptr;
    const void* from = nullptr;
    std::size_t bytes = 0;
    std::vector<std::byte> data = {};

    void read() {
      if (from == nullptr) return;
      const auto* source = static_cast<const std::byte*>(from);
      data.assign(source, source + bytes);
      from = nullptr;
    }
  };

  static void* host_block(std::size_t bytes) {
    void* block = nullptr;
    return posix_memalign(&block, 256, bytes == 0 ? 1 : bytes) == 0 ? block : nullptr;
  }
  // Runs at once, or when the graph that is being captured is replayed.
  template <class Fn>
  void run(int index, const char* name, const void* to, const void* from, const Fn& fn) {
    if (!sim::capturing(index)) return fn();
    const std::array<const void*, 2> addresses{to, from};
    graphs_.add(name, std::as_bytes(std::span(addresses)), fn);
  }

  // Marks and uploads are counted apart, so that many marks (autotuning) drop no upload.
  struct Latest {
    std::deque<Entry> entries;
    std::uint64_t dropped = 0;
  };
  static bool is_upload(std::uint64_t ticket) { return ticket % 2 != 0; }

  std::uint64_t next(Latest& latest, Entry entry) {
    const std::scoped_lock lock(mutex_);
    latest.entries.push_back(std::move(entry));
    if (latest.entries.size() > kMarks) {
      latest.entries.pop_front();
      ++latest.dropped;
    }
    return (latest.dropped + latest.entries.size() - 1) * 2 + (&latest == &uploads_ ? 1 : 0);
  }
  template <class Fn>
  void with(std::uint64_t ticket, const Fn& fn) {
    const std::scoped_lock lock(mutex_);
    Latest& latest = is_upload(ticket) ? uploads_ : marks_;
    const std::uint64_t number = ticket / 2;
    THORAX_CHECK(number >= latest.dropped && number - latest.dropped < latest.entries.size(),
                 "[sim] {} {} is not among the latest {}", is_upload(ticket) ? "upload" : "mark",
                 number, kMarks);
    fn(latest.entries[number - latest.dropped]);
  }

  std::mutex mutex_;
  Latest marks_, uploads_;
  sim::Graphs graphs_;
};

SimBackend& backend() {
  // Never destroyed: tensors in static objects may outlive it.
  static SimBackend& instance = *new SimBackend;
  return instance;
}

[[maybe_unused]] const bool registered = [] {
  register_backend(DeviceKind::sim, backend());
  return true;
}();

}  // namespace

namespace sim {

bool capturing(int index) {
  return thorax::capturing(sim_device(index));
}

void capture(int, const char* name, std::span<const std::byte> arguments,
             std::function<void()> run) {
  backend().graphs().add(name, arguments, std::move(run));
}

const Architecture& architecture(int index) {
  static const std::array<Architecture, 2 * kFirstPtx> all = [] {
    std::array<Architecture, 2 * kFirstPtx> result;
    for (std::size_t i = 0; i < result.size(); ++i)
      result[i] = {simulated()[i].compute_capability, simulated()[i].shared_per_block,
                   simulated()[i].shared_per_block_opt_in};
    return result;
  }();
  return all[static_cast<std::size_t>(index)];
}
}  // namespace sim

}  // namespace thorax
