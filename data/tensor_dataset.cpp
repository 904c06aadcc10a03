#include "data/tensor_dataset.h"

#include <algorithm>
#include <numeric>

#include "engine/runtime/philox.h"

namespace thorax {

TensorDataset::TensorDataset(std::map<std::string, Tensor> arrays) : arrays_(std::move(arrays)) {
  THORAX_CHECK(!arrays_.empty(), "[data] a dataset of no arrays");
  const std::string& first = arrays_.begin()->first;
  for (const auto& [name, array] : arrays_) {
    THORAX_CHECK(array.defined() && array.rank() >= 1 && array.size(0) >= 1,
                 "[data] array '{}' {}: the first axis counts entries, of which there must be one",
                 name, array.defined() ? array.shape().to_string() : "is undefined");
    THORAX_CHECK(array.device().kind == DeviceKind::cpu,
                 "[data] array '{}' {} is on {}: batches are gathered on the CPU", name,
                 array.shape(), to_string(array.device()));
    if (size_ == 0) size_ = array.size(0);
    THORAX_CHECK(array.size(0) == size_, "[data] array '{}' {} has {} entries, '{}' has {}", name,
                 array.shape(), array.size(0), first, size_);
  }
}

Batch TensorDataset::batch(const std::vector<std::int64_t>& entries) const {
  Batch result;
  for (const std::int64_t entry : entries) {
    THORAX_CHECK(entry >= 0 && entry < size_, "[data] entry {} of {}", entry, size_);
    result.names.push_back(fmt::format("entry {}", entry));
  }
  for (const auto& [name, array] : arrays_) {
    std::vector<std::int64_t> extents(array.shape().extents().begin(),
                                      array.shape().extents().end());
    extents[0] = static_cast<std::int64_t>(entries.size());
    const Tensor gathered =
        Tensor::empty(Shape(std::span<const std::int64_t>(extents)), array.dtype());
    for (std::size_t i = 0; i < entries.size(); ++i)
      gathered.batch_slice(static_cast<std::int64_t>(i), 1)
          .copy_from(array.batch_slice(entries[i], 1));
    result.tensors[name] = gathered;
  }
  return result;
}

TensorLoader::TensorLoader(TensorDataset dataset, TensorLoaderOptions options)
    : dataset_(std::move(dataset)), options_(options) {
  THORAX_CHECK(options_.batch >= 1, "[data] batches of {} entries", options_.batch);
  THORAX_CHECK(batches_per_epoch() >= 1,
               "[data] {} entries make no batch of {}; drop_last leaves out smaller ones",
               dataset_.size(), options_.batch);
}

std::int64_t TensorLoader::batches_per_epoch() const {
  const std::int64_t rest = options_.drop_last ? 0 : options_.batch - 1;
  return (dataset_.size() + rest) / options_.batch;
}

Batch TensorLoader::get(std::int64_t epoch, std::int64_t index) {
  THORAX_CHECK(index >= 0 && index < batches_per_epoch(), "[data] batch {} of {}", index,
               batches_per_epoch());
  if (ordered_ != epoch) {
    order_.resize(static_cast<std::size_t>(dataset_.size()));
    std::iota(order_.begin(), order_.end(), 0);
    if (options_.shuffle) {  // Fisher and Yates
      Philox random(options_.seed, static_cast<std::uint64_t>(epoch));
      for (std::size_t i = order_.size(); i > 1; --i)
        std::swap(order_[i - 1], order_[random.below(i)]);
    }
    ordered_ = epoch;
  }
  const std::int64_t begin = index * options_.batch;
  const std::int64_t end = std::min(begin + options_.batch, dataset_.size());
  return dataset_.batch({order_.begin() + begin, order_.begin() + end});
}

}  // namespace thorax
