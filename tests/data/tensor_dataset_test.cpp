#include "data/tensor_dataset.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/support/check.h"

using namespace thorax;

namespace {

TensorDataset ten() {
  const Tensor image = Tensor::empty({10, 2, 1, 3}), label = Tensor::empty({10}, DType::i64);
  for (std::int64_t i = 0; i < 10; ++i) {
    label.data<std::int64_t>()[i] = i;
    image.batch_slice(i, 1).fill(static_cast<double>(i));
  }
  return TensorDataset({{"image", image}, {"label", label}});
}

std::vector<std::int64_t> labels(TensorLoader& loader, std::int64_t epoch) {
  std::vector<std::int64_t> all;
  for (const Batch& batch : loader.epoch(epoch)) {
    const Tensor& label = batch.tensors.at("label");
    const Tensor& image = batch.tensors.at("image");
    REQUIRE(image.size(0) == label.size(0));
    for (std::int64_t i = 0; i < label.numel(); ++i) {
      const std::int64_t entry = label.data<std::int64_t>()[i];
      all.push_back(entry);
      CHECK(batch.names[static_cast<std::size_t>(i)] == fmt::format("entry {}", entry));
      for (std::int64_t k = 0; k < 6; ++k)
        CHECK(image.data<float>()[i * 6 + k] == static_cast<float>(entry));
    }
  }
  return all;
}

}  // namespace

TEST_CASE("a tensor loader: every entry once, in an order that (seed, epoch) decide") {
  TensorLoader loader(ten(), {.batch = 4, .seed = 7});
  CHECK(loader.batches_per_epoch() == 3);
  std::vector<std::int64_t> first = labels(loader, 0), second = labels(loader, 1);
  CHECK(first != second);
  CHECK(labels(loader, 0) == first);
  TensorLoader again(ten(), {.batch = 4, .seed = 7});
  CHECK(labels(again, 1) == second);  // without epoch 0 before it
  TensorLoader other(ten(), {.batch = 4, .seed = 8});
  CHECK(labels(other, 0) != first);
  for (auto* order : {&first, &second}) {
    std::sort(order->begin(), order->end());
    CHECK(*order == std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  }
}

TEST_CASE("a tensor loader without shuffling, and without a smaller last batch") {
  TensorLoader loader(ten(), {.batch = 4, .shuffle = false, .drop_last = true});
  CHECK(labels(loader, 5) == std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK_THROWS_WITH_AS(loader.get(0, 2), doctest::Contains("[data] batch 2 of 2"), Error);
}

TEST_CASE("arrays that make no dataset are errors that name them") {
  CHECK_THROWS_WITH_AS(
      TensorDataset({{"image", Tensor::zeros({3, 2})}, {"label", Tensor::zeros({4})}}),
      doctest::Contains("[data] array 'label' 4 has 4 entries, 'image' has 3"), Error);
  CHECK_THROWS_WITH_AS(TensorDataset({{"image", Tensor::zeros({0, 2})}}),
                       doctest::Contains("'image' 0x2"), Error);
  CHECK_THROWS_WITH_AS(TensorLoader(ten(), {.batch = 11, .drop_last = true}),
                       doctest::Contains("10 entries make no batch of 11"), Error);
}
