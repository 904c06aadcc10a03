#include "engine/runtime/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

namespace thorax {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Block sizes: eight steps per power of two, so that at most an eighth is wasted and shapes that
// differ a little share blocks.
std::size_t rounded(std::size_t bytes) {
  if (bytes <= 512) return 512;
  const std::size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

class HostAllocator final : public Allocator {
 public:
  void* allocate(std::size_t bytes) override {
    const std::size_t size = rounded(bytes);
    const std::scoped_lock lock(mutex_);
    THORAX_CHECK(size >= bytes && (limit_ == 0 || stats_.in_use + size <= limit_),
                 "[allocator] out of memory: {} bytes wanted, {} in use, limit {}", bytes,
                 stats_.in_use, limit_);
    void* block = nullptr;
    if (auto found = free_.find(size); found != free_.end() && !found->second.empty()) {
      block = found->second.back();
      found->second.pop_back();
      stats_.cached -= size;
      ++stats_.cache_hits;
    } else {
      block = fresh(size);
      if (block == nullptr) {
        trim_locked();
        block = fresh(size);
      }
      THORAX_CHECK(block != nullptr, "[allocator] out of memory: {} bytes wanted, {} in use", bytes,
                   stats_.in_use);
    }
    ++stats_.allocations;
    stats_.in_use += size;
    stats_.peak_in_use = std::max(stats_.peak_in_use, stats_.in_use);
    return block;
  }

  void release(void* block, std::size_t bytes) noexcept override {
    if (block == nullptr) return;
    const std::size_t size = rounded(bytes);
    const std::scoped_lock lock(mutex_);
    stats_.in_use -= size;
    if constexpr (!kCache) {
      std::free(block);
    } else {
      stats_.cached += size;
      free_[size].push_back(block);
    }
  }

  void trim() noexcept override {
    const std::scoped_lock lock(mutex_);
    trim_locked();
  }
  AllocatorStats stats() const override {
    const std::scoped_lock lock(mutex_);
    return stats_;
  }
  void reset_peak() override {
    const std::scoped_lock lock(mutex_);
    stats_.peak_in_use = stats_.in_use;
  }
  void set_limit(std::size_t bytes) override {
    const std::scoped_lock lock(mutex_);
    limit_ = bytes;
  }

 private:
  static void* fresh(std::size_t size) {
    const std::size_t alignment = size >= kHugePage ? kHugePage : kAlignment;
    void* block = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    // Huge pages: a 512 x 512 x 32 activation is 8,192 small pages, each a fault and a TLB entry.
    if (block != nullptr && size >= kHugePage) madvise(block, size, MADV_HUGEPAGE);
    return block;
  }
  void trim_locked() noexcept {
    for (auto& [size, blocks] : free_) {
      for (void* block : blocks) std::free(block);
      stats_.cached -= size * blocks.size();
      blocks.clear();
    }
  }

#if defined(__SANITIZE_ADDRESS__)
  // A cached block would hide a use after free from AddressSanitizer.
  static constexpr bool kCache = false;
#else
  static constexpr bool kCache = true;
#endif
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;
  AllocatorStats stats_;
  std::size_t limit_ = 0;
};

}  // namespace

Allocator& allocator(Device device) {
  THORAX_CHECK(device.kind == DeviceKind::cpu, "[allocator] device {} is not built in",
               to_string(device));
  // Never destroyed: tensors in static objects may outlive any static allocator.
  static HostAllocator& host = *new HostAllocator;
  return host;
}

}  // namespace thorax
