#include "engine/runtime/staging.h"

#include "engine/runtime/device.h"

namespace thorax {

Staging::Staging(Device device) : device_(device) {
  THORAX_CHECK(device.kind != DeviceKind::cpu, "[staging] the CPU needs no uploads");
  device_info(device);  // throws when there is no such device
}

Staging::~Staging() {
  DeviceBackend& backend = device_backend(device_.kind);
  for (Slot& slot : slots_) {
    for (Buffer& buffer : slot.buffers) {
      try {
        if (buffer.busy) backend.wait_upload(device_.index, buffer.ticket);
      } catch (const Error&) {  // the device failed: nothing is running there any more
      }
      if (buffer.pinned != nullptr) backend.release_pinned(buffer.pinned);
    }
  }
}

void Staging::begin(std::span<const Tensor> tensors) {
  Slot& slot = slots_[next_];
  pending_ = false;
  if (slot.buffers.size() < tensors.size()) slot.buffers.resize(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) upload(slot, slot.buffers[i], tensors[i]);
  slot.used = tensors.size();
  pending_ = true;
}

void Staging::upload(const Slot& slot, Buffer& buffer, const Tensor& tensor) {
  DeviceBackend& backend = device_backend(device_.kind);
  if (buffer.busy) backend.wait_upload(device_.index, buffer.ticket);
  buffer.busy = false;
  if (buffer.pinned_bytes < tensor.bytes()) {
    if (buffer.pinned != nullptr) backend.release_pinned(buffer.pinned);
    buffer.pinned = nullptr;
    buffer.pinned_bytes = 0;
    buffer.pinned = static_cast<std::byte*>(backend.allocate_pinned(tensor.bytes()));
    THORAX_CHECK(buffer.pinned != nullptr, "[staging] no {} bytes of pinned memory",
                 tensor.bytes());
    buffer.pinned_bytes = tensor.bytes();
  }
  const Tensor dense = tensor.to_contiguous();
  copy_bytes(buffer.pinned, Device{}, dense.raw(), dense.device(), dense.bytes());
  std::optional<std::uint64_t> after = slot.released;
  if (!buffer.room.defined() || buffer.room.dtype() != tensor.dtype() ||
      buffer.room.numel() < tensor.numel()) {
    buffer.view = {};
    buffer.room = {};  // first: its memory may serve again
    buffer.room = Tensor::empty({tensor.numel()}, tensor.dtype(), device_);
    after.reset();
  }
  // Memory from the allocator may be in use by any kernel launched so far.
  if (!after) after = backend.mark(device_.index);
  buffer.view = buffer.room.batch_slice(0, tensor.numel()).reshape(tensor.shape());
  buffer.ticket =
      backend.begin_upload(device_.index, buffer.view.raw(), buffer.pinned, tensor.bytes(), *after);
  buffer.busy = true;
}

std::vector<Tensor> Staging::take() {
  THORAX_CHECK(pending_, "[staging] nothing was begun");
  DeviceBackend& backend = device_backend(device_.kind);
  // Kernels that read the other slot have all been launched by now.
  slots_[1 - next_].released = backend.mark(device_.index);
  std::vector<Tensor> result;
  const Slot& slot = slots_[next_];
  for (std::size_t i = 0; i < slot.used; ++i) {
    backend.join_upload(device_.index, slot.buffers[i].ticket);
    result.push_back(slot.buffers[i].view);
  }
  next_ = 1 - next_;
  pending_ = false;
  return result;
}

}  // namespace thorax
