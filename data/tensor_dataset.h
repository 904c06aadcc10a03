// Batches of arrays that are in memory already.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/train/batch_source.h"

namespace thorax {

// Named arrays whose first axis counts entries: {{"image", N x H x W x C}, {"label", N}}.
class TensorDataset {
 public:
  // Throws Error "[data] ..." naming the arrays when they have no or not the same number of
  // entries. They stay where they are and are not copied; on the CPU.
  explicit TensorDataset(std::map<std::string, Tensor> arrays);
  std::int64_t size() const { return size_; }
  // The entries of these numbers in this order, in new memory; names are "entry 17".
  Batch batch(const std::vector<std::int64_t>& entries) const;

 private:
  std::map<std::string, Tensor> arrays_;
  std::int64_t size_ = 0;
};

struct TensorLoaderOptions {
  std::int64_t batch = 32;
  bool shuffle = true;     // anew in every epoch, by (seed, epoch) alone
  bool drop_last = false;  // leaves out a last batch that is smaller
  std::uint64_t seed = 0;
};

// A source for Trainer, and for a loop of one's own:
//   for (const Batch& batch : loader.epoch(e)) ... batch.tensors.at("image")
class TensorLoader : public BatchSource {
 public:
  // Throws Error "[data] ..." when an epoch would have no batch.
  TensorLoader(TensorDataset dataset, TensorLoaderOptions options = {});
  std::int64_t batches_per_epoch() const override;
  Batch get(std::int64_t epoch, std::int64_t index) override;

  class Epoch {
   public:
    class Iterator {
     public:
      Batch operator*() const { return loader_->get(epoch_, index_); }
      Iterator& operator++() {
        ++index_;
        return *this;
      }
      friend bool operator==(const Iterator& a, const Iterator& b) { return a.index_ == b.index_; }

     private:
      friend class Epoch;
      Iterator(TensorLoader* loader, std::int64_t epoch, std::int64_t index)
          : loader_(loader), epoch_(epoch), index_(index) {}
      TensorLoader* loader_;
      std::int64_t epoch_, index_;
    };
    Iterator begin() const { return {loader_, epoch_, 0}; }
    Iterator end() const { return {loader_, epoch_, loader_->batches_per_epoch()}; }

   private:
    friend class TensorLoader;
    Epoch(TensorLoader* loader, std::int64_t epoch) : loader_(loader), epoch_(epoch) {}
    TensorLoader* loader_;
    std::int64_t epoch_;
  };
  Epoch epoch(std::int64_t number) { return {this, number}; }

 private:
  TensorDataset dataset_;
  TensorLoaderOptions options_;
  std::vector<std::int64_t> order_;  // of the epoch that was asked for last
  std::int64_t ordered_ = -1;
};

}  // namespace thorax
