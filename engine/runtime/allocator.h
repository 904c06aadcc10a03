// Caching allocators for host and device memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/tensor/dtype.h"

namespace thorax {

struct AllocatorStats {
  std::size_t in_use = 0;       // bytes handed out now
  std::size_t peak_in_use = 0;  // highest in_use since the last reset_peak
  std::size_t cached = 0;       // bytes held for reuse
  std::size_t graphs = 0;       // bytes that graphs hold and that are not handed out
  std::uint64_t allocations = 0;
  std::uint64_t cache_hits = 0;
};

// Hands out 64-byte aligned blocks and keeps freed ones for reuse: a training step asks for the
// same sizes over and over, and fresh pages from the kernel cost more than the arithmetic of a
// small layer. Thread-safe.
class Allocator {
 public:
  virtual ~Allocator() = default;
  // Throws Error "[allocator] ..." when memory runs out or the limit would be passed, on a GPU with
  // the operations that hold the most. 0 bytes gives a valid block.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* block, std::size_t bytes) noexcept = 0;
  // Gives cached blocks back to the system.
  virtual void trim() noexcept = 0;
  virtual AllocatorStats stats() const = 0;
  virtual void reset_peak() = 0;
  // Upper limit for in_use in bytes; 0 = none.
  virtual void set_limit(std::size_t bytes) = 0;

  // Memory of a graph (engine/runtime/graph.h): blocks handed out between begin_private and
  // end_private are kept for it until drop_private, also when they are released. They come from
  // blocks that were released before; throws Error "[allocator] ..." when there is none that fits,
  // since memory from the system cannot be captured.
  virtual std::uint64_t begin_private() = 0;
  virtual void end_private() = 0;
  virtual void drop_private(std::uint64_t id) noexcept = 0;
};

// The allocator of a device; throws Error for a device that this build or machine lacks.
Allocator& allocator(Device device);

// A temporary buffer of `count` elements from the CPU allocator, given back at the end of the
// scope.
template <class T>
class Workspace {
 public:
  explicit Workspace(std::size_t count)
      : bytes_(count * sizeof(T)), data_(static_cast<T*>(allocator(Device{}).allocate(bytes_))) {}
  ~Workspace() { allocator(Device{}).release(data_, bytes_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  T* data() const { return data_; }
  T& operator[](std::size_t i) const { return data_[i]; }

 private:
  std::size_t bytes_;
  T* data_;
};

}  // namespace thorax
