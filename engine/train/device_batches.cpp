#include "engine/train/device_batches.h"

namespace thorax {

DeviceBatches::DeviceBatches(BatchSource& source, Device device) : source_(source) {
  if (device.kind != DeviceKind::cpu) staging_.emplace(device);
}

void DeviceBatches::prefetch(std::int64_t epoch, std::int64_t index) {
  if (!staging_) return;
  position_.reset();
  pending_ = source_.get(epoch, index);
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : pending_.tensors) tensors.push_back(tensor);
  staging_->begin(tensors);
  position_ = {epoch, index};
}

Batch DeviceBatches::get(std::int64_t epoch, std::int64_t index) {
  if (!staging_) return source_.get(epoch, index);
  if (position_ != std::pair{epoch, index}) prefetch(epoch, index);
  position_.reset();
  const std::vector<Tensor> tensors = staging_->take();
  std::size_t next = 0;
  for (auto& [name, tensor] : pending_.tensors) tensor = tensors[next++];
  return std::move(pending_);
}

}  // namespace thorax
