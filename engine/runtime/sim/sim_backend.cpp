// The simulated device as a device of the engine.
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <vector>

#include "engine/runtime/device.h"
#include "engine/runtime/sim/block.h"

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

const std::array<DeviceInfo, 3>& simulated() {
  static const std::array<DeviceInfo, 3> devices{
      describe("simulated RTX 2070 Super", 75, 40, 1024, 64, 64, 8),
      describe("simulated A100", 80, 108, 2048, 163, 164, 40),
      describe("simulated H100", 90, 132, 2048, 227, 228, 80)};
  return devices;
}

// Kernels and copies run at once, in the caller: one stream that is always finished.
class SimBackend final : public DeviceBackend {
 public:
  int count() const override { return static_cast<int>(simulated().size()); }
  const DeviceInfo& info(int index) const override {
    return simulated()[static_cast<std::size_t>(index)];
  }
  void synchronize(int) override {}
  // Every block of memory is an allocation of its own, so that AddressSanitizer sees an index past
  // its end.
  void* allocate(int, std::size_t bytes) override {
    void* block = nullptr;
    return posix_memalign(&block, 256, bytes == 0 ? 1 : bytes) == 0 ? block : nullptr;
  }
  void release(int, void* block) noexcept override { std::free(block); }
  void* allocate_pinned(std::size_t bytes) override { return allocate(0, bytes); }
  void release_pinned(void* block) noexcept override { std::free(block); }
  void to_device(int, void* to, const void* from, std::size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void to_host(int, void* to, const void* from, std::size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void within(int, void* to, const void* from, std::size_t bytes) override {
    std::memmove(to, from, bytes);
  }
  void fill(int, void* memory, int byte, std::size_t bytes) override {
    std::memset(memory, byte, bytes);
  }
  std::uint64_t mark(int) override { return next({}); }
  // The source is read when somebody waits for the copy, and the target written when it is joined:
  // a source that changes too early and a missing join show.
  std::uint64_t begin_upload(int, void* to, const void* from, std::size_t bytes,
                             std::uint64_t after) override {
    with(after, [](Entry&) {});
    return next({.to = to, .from = from, .bytes = bytes});
  }
  void join_upload(int, std::uint64_t ticket) override {
    with(ticket, [](Entry& e) {
      e.read();
      if (e.to != nullptr && !e.data.empty()) std::memcpy(e.to, e.data.data(), e.data.size());
      e.to = nullptr;
      e.data = {};
    });
  }
  void wait_upload(int, std::uint64_t ticket) override {
    with(ticket, [](Entry& e) { e.read(); });
  }
  double seconds_between(int, std::uint64_t first, std::uint64_t second) override {
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

  std::uint64_t next(Entry entry) {
    const std::scoped_lock lock(mutex_);
    entries_.push_back(std::move(entry));
    if (entries_.size() > kMarks) {
      entries_.pop_front();
      ++dropped_;
    }
    return dropped_ + entries_.size() - 1;
  }
  template <class Fn>
  void with(std::uint64_t ticket, const Fn& fn) {
    const std::scoped_lock lock(mutex_);
    THORAX_CHECK(ticket >= dropped_ && ticket - dropped_ < entries_.size(),
                 "[sim] mark {} is not among the latest {}", ticket, kMarks);
    fn(entries_[ticket - dropped_]);
  }

  std::mutex mutex_;
  std::deque<Entry> entries_;
  std::uint64_t dropped_ = 0;
};

[[maybe_unused]] const bool registered = [] {
  static SimBackend backend;
  register_backend(DeviceKind::sim, backend);
  return true;
}();

}  // namespace

namespace sim {
const Architecture& architecture(int index) {
  static const std::array<Architecture, 3> all = [] {
    std::array<Architecture, 3> result;
    for (std::size_t i = 0; i < result.size(); ++i)
      result[i] = {simulated()[i].compute_capability, simulated()[i].shared_per_block,
                   simulated()[i].shared_per_block_opt_in};
    return result;
  }();
  return all[static_cast<std::size_t>(index)];
}
}  // namespace sim

}  // namespace thorax
