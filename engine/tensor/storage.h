// Reference-counted block of device memory.
#pragma once

#include <cstddef>
#include <memory>

#include "engine/tensor/dtype.h"

namespace thorax {

// Owns `bytes` bytes taken from the allocator of `device` and gives them back on destruction, or
// uses memory of somebody else.
class Storage {
 public:
  Storage(std::size_t bytes, Device device);
  // Uses `bytes` bytes at `data`, which stay valid while `owner` lives; on destruction, or after a
  // move to another device, it only lets go of `owner`.
  Storage(void* data, std::size_t bytes, Device device, std::shared_ptr<void> owner);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  // Moves the bytes to another device; every tensor that shares this storage moves along.
  void move_to(Device device);

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Device device_;
  std::shared_ptr<void> owner_;  // null: the bytes are the allocator's
};

using StoragePtr = std::shared_ptr<Storage>;

}  // namespace thorax
