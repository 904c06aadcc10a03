// Where the trainer gets its batches from; data/loader.h implements it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/tensor/tensor.h"

namespace thorax {

struct Batch {
  std::map<std::string, Tensor> tensors;  // "image" [N,H,W,C]; "mask" [N,H,W,1] or "label" [N]
  std::vector<std::string> names;         // the files behind the N entries, for error messages
};

// Batches addressed by (epoch, index): the same pair always gives the same bits, so a resumed run
// sees what an uninterrupted one would have seen. Implementations may prefetch the following index.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual std::int64_t batches_per_epoch() const = 0;
  virtual Batch get(std::int64_t epoch, std::int64_t index) = 0;
  // Which batches of every epoch will be asked for: where several ranks train, each takes others. A
  // hint to what is prepared ahead; get() gives any batch.
  virtual void will_get(std::function<bool(std::int64_t index)> /*wanted*/) {}
};

}  // namespace thorax
