#include "engine/runtime/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/runtime/device.h"
#include "engine/runtime/profile.h"

namespace thorax {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Block sizes: eight steps per power of two, so that at most an eighth is wasted and shapes that
// differ a little share blocks.
std::size_t size_class(std::size_t bytes) {
  if (bytes <= 512) return 512;
  const std::size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

// The caching is the same for every device; where memory comes from is not.
class CachingAllocator : public Allocator {
 public:
  void* allocate(std::size_t bytes) override {
    std::size_t size = rounded(bytes);
    const std::scoped_lock lock(mutex_);
    if (size < bytes) out_of_memory(bytes);
    void* block = nullptr;
    if (capturing_ != 0) {
      block = private_block(size);
    } else if (limit_ != 0 && stats_.in_use + stats_.graphs + size > limit_) {
      out_of_memory(bytes);
    } else if (block = take(free_, size); block != nullptr) {
      stats_.cached -= size;
      ++stats_.cache_hits;
    } else if (block = take_larger(size); block != nullptr) {
      size = larger_.at(block);
      stats_.cached -= size;
      ++stats_.cache_hits;
    } else {
      // Cached blocks count against the limit, too: they are memory that others cannot have.
      if (limit_ != 0 && stats_.in_use + stats_.graphs + stats_.cached + size > limit_)
        trim_locked();
      take(released_, size);
      block = fresh(size);
      if (block == nullptr) {
        trim_locked();
        block = fresh(size);
      }
      if (block == nullptr) out_of_memory(bytes);
    }
    ++stats_.allocations;
    stats_.in_use += size;
    stats_.peak_in_use = std::max(stats_.peak_in_use, stats_.in_use);
    if (tracks_holders()) holders_[block] = {size, current_operation()};
    return block;
  }

  void release(void* block, std::size_t bytes) noexcept override {
    if (block == nullptr) return;
    std::size_t size = rounded(bytes);
    const std::scoped_lock lock(mutex_);
    if (const auto found = larger_.find(block); found != larger_.end()) {
      size = found->second;
      larger_.erase(found);
    }
    stats_.in_use -= size;
    if (tracks_holders()) holders_.erase(block);
    if (const auto owner = owners_.find(block); owner != owners_.end()) {
      stats_.graphs += size;
      Pool& pool = pools_.at(owner->second);
      pool.free[size].push_back(block);
      if (!caches()) ++pool.released[size_class(size)];
    } else if (!caches()) {
      ++released_[size_class(size)];
      give_back(block);
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

  std::uint64_t begin_private() override {
    const std::scoped_lock lock(mutex_);
    THORAX_CHECK(capturing_ == 0, "[allocator] two graphs at a time{}", where());
    capturing_ = ++last_pool_;
    pools_[capturing_];
    return capturing_;
  }
  void end_private() override {
    const std::scoped_lock lock(mutex_);
    capturing_ = 0;
  }
  void drop_private(std::uint64_t id) noexcept override {
    const std::scoped_lock lock(mutex_);
    const auto pool = pools_.find(id);
    if (pool == pools_.end()) return;
    for (auto& [size, blocks] : pool->second.free) {
      for (void* block : blocks) {
        stats_.graphs -= size;
        if (caches()) {
          stats_.cached += size;
          free_[size].push_back(block);
        } else {
          give_back(block);
        }
      }
    }
    for (const auto& [size, count] : pool->second.released) released_[size] += count;
    // Those still handed out are ordinary blocks from now on.
    std::erase_if(owners_, [&](const auto& entry) { return entry.second == id; });
    pools_.erase(pool);
  }

 protected:
  virtual void* fresh(std::size_t size) = 0;  // nullptr when memory runs out
  virtual void give_back(void* block) noexcept = 0;
  // A block that a graph's capture hands out again.
  virtual void reused(void*, std::size_t) {}
  virtual std::size_t rounded(std::size_t bytes) const { return size_class(bytes); }
  virtual bool caches() const { return kCache; }
  // How many times larger than asked for a cached block may be that serves instead of fresh memory.
  virtual std::size_t largest_factor() const { return 1; }
  virtual bool tracks_holders() const { return false; }
  virtual std::string where() const { return {}; }
  // ", the device has N", where that is known.
  virtual std::string total() const { return {}; }

 private:
  struct Holder {
    std::size_t bytes = 0;
    std::string_view operation;
  };

  using Blocks = std::map<std::size_t, std::vector<void*>>;  // by size
  using BlockCounts = std::map<std::size_t, std::size_t>;    // by size class
  // Of one graph: freed blocks serve its capture again, and nobody else.
  struct Pool {
    Blocks free;
    BlockCounts released;
  };

  static void* take(Blocks& blocks, std::size_t size) {
    const auto found = blocks.find(size);
    if (found == blocks.end() || found->second.empty()) return nullptr;
    void* block = found->second.back();
    found->second.pop_back();
    return block;
  }
  // The smallest cached block that is too large, but not by more than the factor; noted in larger_.
  void* take_larger(std::size_t size) {
    std::size_t most = size * largest_factor();
    if (limit_ != 0) most = std::min(most, limit_ - stats_.in_use - stats_.graphs);
    for (auto it = free_.upper_bound(size); it != free_.end() && it->first <= most; ++it) {
      if (it->second.empty()) continue;
      void* block = it->second.back();
      it->second.pop_back();
      larger_[block] = it->first;
      return block;
    }
    return nullptr;
  }
  // A device that gives every tensor memory of its own counts instead what one that keeps freed
  // blocks would have, by that one's sizes. Whether there is one; it is not there any more then.
  static bool take(BlockCounts& counts, std::size_t size) {
    const auto found = counts.find(size_class(size));
    if (found == counts.end() || found->second == 0) return false;
    --found->second;
    return true;
  }

  // A block for the graph that is being captured.
  void* private_block(std::size_t size) {
    Pool& pool = pools_.at(capturing_);
    const bool there = caches() || take(pool.released, size) || take(released_, size);
    void* block = there ? take(pool.free, size) : nullptr;
    if (block != nullptr) {
      stats_.graphs -= size;
      ++stats_.cache_hits;
      reused(block, size);
      return block;
    }
    if (caches()) {
      block = take(free_, size);
      if (block != nullptr) {
        stats_.cached -= size;
        ++stats_.cache_hits;
      }
    } else if (there) {
      block = fresh(size);
    }
    THORAX_CHECK(block != nullptr,
                 "[allocator] the graph that is being recorded{} wants {} bytes, and no block of "
                 "that size was freed before: memory from the system cannot be captured; the work "
                 "must have run once",
                 where(), size);
    owners_[block] = capturing_;
    return block;
  }

  [[noreturn]] void out_of_memory(std::size_t bytes) const {
    const std::size_t used = stats_.in_use + stats_.graphs;
    std::string text = fmt::format("[allocator] out of memory{}: {} bytes wanted, {} in use",
                                   where(), bytes, used);
    if (limit_ != 0)
      text += fmt::format(", limit {}, {} free", limit_, limit_ - std::min(used, limit_));
    else
      text += total();
    text += fmt::format(
        "; a smaller --batch, --size or --cache-mb needs less of it{}; a run that had begun goes "
        "on "
        "with --resume where there is more",
        limit_ != 0 ? ", a higher --memory-limit gives more" : "");
    if (tracks_holders()) {
      std::map<std::string_view, std::pair<std::size_t, std::size_t>> by_operation;
      for (const auto& [block, holder] : holders_) {
        auto& [held, blocks] = by_operation[holder.operation];
        held += holder.bytes;
        ++blocks;
      }
      std::vector<std::pair<std::size_t, std::string>> largest;
      for (const auto& [operation, sum] : by_operation)
        largest.emplace_back(
            sum.first, fmt::format("\n  {:>14} bytes in {:>5} blocks: {}", sum.first, sum.second,
                                   operation.empty() ? "(other)" : operation));
      std::sort(largest.rbegin(), largest.rend());
      if (largest.size() > 8) largest.resize(8);
      text += "; the largest holders:";
      for (const auto& [held, line] : largest) text += line;
    }
    throw Error(text);
  }
  void trim_locked() noexcept {
    for (auto& [size, blocks] : free_) {
      for (void* block : blocks) give_back(block);
      stats_.cached -= size * blocks.size();
      blocks.clear();
    }
    released_.clear();
  }

#if defined(__SANITIZE_ADDRESS__)
  // A cached block would hide a use after free from AddressSanitizer.
  static constexpr bool kCache = false;
#else
  static constexpr bool kCache = true;
#endif
  mutable std::mutex mutex_;
  Blocks free_;
  BlockCounts released_;  // of a device that keeps none
  std::unordered_map<void*, Holder> holders_;
  std::unordered_map<void*, std::size_t> larger_;  // blocks in use that serve smaller requests
  std::map<std::uint64_t, Pool> pools_;
  std::unordered_map<void*, std::uint64_t> owners_;  // of blocks that belong to a graph
  std::uint64_t capturing_ = 0, last_pool_ = 0;      // 0: none
  AllocatorStats stats_;
  std::size_t limit_ = 0;
};

class HostAllocator final : public CachingAllocator {
  void* fresh(std::size_t size) override {
    const std::size_t alignment = size >= kHugePage ? kHugePage : kAlignment;
    // Not rounded up to whole huge pages (glibc asks for no multiple): the limit counts `size`.
    void* block = std::aligned_alloc(alignment, size);
    // Huge pages: a 512 x 512 x 32 activation is 8,192 small pages, each a fault and a TLB entry.
    if (block != nullptr && size >= kHugePage) madvise(block, size, MADV_HUGEPAGE);
    return block;
  }
  void give_back(void* block) noexcept override { std::free(block); }
  // Measured: 2 takes 7 to 21 % off the peak memory of training and inference (bench_step), more
  // adds nothing. Not on a GPU, where a graph's capture must find the very sizes that the run
  // before it left.
  std::size_t largest_factor() const override { return 2; }
};

// Memory of a GPU, real or simulated. All work of a device is ordered by its one compute stream, so
// a block may be handed out again while the kernel that used it last is still running.
class DeviceAllocator final : public CachingAllocator {
 public:
  explicit DeviceAllocator(Device device) : device_(device) {}

 private:
  // The simulated device gives every tensor memory of its own, of the exact size and full of NaN
  // bytes, so that reading too far or too early shows.
  bool simulated() const { return device_.kind == DeviceKind::sim; }
  void* fresh(std::size_t size) override {
    DeviceBackend& backend = device_backend(device_.kind);
    void* block = backend.allocate(device_.index, size);
    if (block != nullptr && simulated()) backend.fill(device_.index, block, 0xff, size);
    return block;
  }
  void give_back(void* block) noexcept override {
    device_backend(device_.kind).release(device_.index, block);
  }
  void reused(void* block, std::size_t size) override {
    if (simulated()) device_backend(device_.kind).fill(device_.index, block, 0xff, size);
  }
  std::size_t rounded(std::size_t bytes) const override {
    return simulated() ? bytes : size_class(bytes);
  }
  bool caches() const override { return !simulated(); }
  bool tracks_holders() const override { return true; }
  std::string where() const override { return " on " + to_string(device_); }
  std::string total() const override {
    return fmt::format(", the device has {}", device_info(device_).memory);
  }
  Device device_;
};

}  // namespace

Allocator& allocator(Device device) {
  // Never destroyed: tensors in static objects may outlive any static allocator.
  static HostAllocator& host = *new HostAllocator;
  if (device.kind == DeviceKind::cpu) return host;
  static std::mutex mutex;
  static auto& devices =
      *new std::map<std::pair<DeviceKind, int>, std::unique_ptr<DeviceAllocator>>;
  const std::scoped_lock lock(mutex);
  auto& found = devices[{device.kind, device.index}];
  if (found == nullptr) {
    device_info(device);  // throws when there is no such device
    found = std::make_unique<DeviceAllocator>(device);
  }
  return *found;
}

}  // namespace thorax
