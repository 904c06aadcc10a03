// Batches on the device that computes.
#pragma once

#include <optional>
#include <utility>

#include "engine/runtime/staging.h"
#include "engine/train/batch_source.h"

namespace thorax {

// A source's batches with their tensors on a device. For a GPU, prefetch() asks the source for the
// next batch and starts its upload while the current one computes; on the CPU batches pass as they
// are. A batch's tensors stay as they are until the second prefetch() or get() after it
// (engine/runtime/staging.h).
class DeviceBatches {
 public:
  // The source must outlive this.
  DeviceBatches(BatchSource& source, Device device);
  Batch get(std::int64_t epoch, std::int64_t index);
  // Tells that get(epoch, index) comes next.
  void prefetch(std::int64_t epoch, std::int64_t index);

 private:
  BatchSource& source_;
  std::optional<Staging> staging_;
  Batch pending_;  // names, and keys of the tensors on their way
  std::optional<std::pair<std::int64_t, std::int64_t>> position_;  // of what is pending
};

}  // namespace thorax
