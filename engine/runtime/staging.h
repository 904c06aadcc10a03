// Tensors on their way from the host to a GPU while it computes something else.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/tensor/tensor.h"

namespace thorax {

// Two slots of pinned host memory and of device memory take turns:
//
//   staging.begin(batch 0)
//   take(): batch 0; launch its kernels; begin(batch 1): it is copied while they run
//   take(): batch 1; launch its kernels; begin(batch 2), into the memory of batch 0; ...
//
// The tensors that take() gave are overwritten by the second begin() after it: kernels that read
// them must be launched before the next take(). Slots grow as needed and are kept. One thread.
class Staging {
 public:
  // `device` is a GPU, real or simulated.
  explicit Staging(Device device);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Copies the values (CPU tensors; channel slices become dense) and starts their upload. What was
  // begun and not taken is dropped.
  void begin(std::span<const Tensor> tensors);
  // What was begun, in its order, for kernels launched from now on. Throws Error when nothing was.
  std::vector<Tensor> take();

 private:
  struct Buffer {
    std::byte* pinned = nullptr;
    std::size_t pinned_bytes = 0;
    Tensor room;  // on the device, rank 1
    Tensor view;  // of `room`: the tensor that is on its way
    std::uint64_t ticket = 0;
    bool busy = false;  // the upload may be running
  };
  struct Slot {
    std::vector<Buffer> buffers;
    std::size_t used = 0;                   // buffers of the batch in the slot
    std::optional<std::uint64_t> released;  // mark after the last kernel that reads it
  };
  void upload(const Slot& slot, Buffer& buffer, const Tensor& tensor);

  Device device_;
  std::array<Slot, 2> slots_;
  std::size_t next_ = 0;  // slot of the next begin()
  bool pending_ = false;
};

}  // namespace thorax
