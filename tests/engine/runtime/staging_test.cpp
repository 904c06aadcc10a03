// Uploads that overlap with kernels. On the simulated device a copy is made as late as a GPU may
// make it, so that a wait that is missing shows.
#include "engine/runtime/staging.h"

#include <doctest/doctest.h>

#include "engine/runtime/device.h"
#include "engine/train/device_batches.h"
#include "tests/support/check.h"
#include "tests/support/gpu.h"

using namespace thorax;

namespace {
const Device kSim{DeviceKind::sim, 0};
}

TEST_CASE("uploads: nothing is there before the join, and the source may change after the wait") {
  DeviceBackend& backend = device_backend(kSim.kind);
  const Tensor target = Tensor::empty({4}, DType::f32, kSim);
  auto* pinned = static_cast<float*>(backend.allocate_pinned(16));
  std::fill_n(pinned, 4, 1.0f);
  const std::uint64_t first =
      backend.begin_upload(0, target.raw(), pinned, 16, backend.mark(kSim.index));
  CHECK_FALSE(all_finite(target));
  backend.wait_upload(0, first);
  std::fill_n(pinned, 4, 2.0f);
  CHECK_FALSE(all_finite(target));
  backend.join_upload(0, first);
  CHECK(test::same_values(target.to(Device{}), Tensor::full({4}, 1)));
  const std::uint64_t second = backend.begin_upload(0, target.raw(), pinned, 16, first);
  std::fill_n(pinned, 4, 3.0f);  // too early
  backend.join_upload(0, second);
  CHECK(test::same_values(target.to(Device{}), Tensor::full({4}, 3)));
  backend.release_pinned(pinned);
}

TEST_CASE("marks: the latest are kept, older ones are an error, and memory does not grow") {
  DeviceBackend& backend = device_backend(kSim.kind);
  const std::uint64_t first = backend.mark(0);
  std::uint64_t last = first;
  for (std::uint64_t i = 1; i < DeviceBackend::kMarks; ++i) last = backend.mark(0);
  CHECK(backend.seconds_between(0, first, last) >= 0);
  backend.mark(0);
  CHECK_THROWS_WITH_AS(backend.seconds_between(0, first, last),
                       doctest::Contains("not among the latest 4096"), Error);
}

TEST_CASE("marks in any number between two batches do not disturb their uploads") {
  const Device device = test::gpu();
  DeviceBackend& backend = device_backend(device.kind);
  Staging staging(device);
  const auto many_marks = [&] {
    for (int i = 0; i < 10000; ++i) backend.mark(device.index);
  };
  for (int i = 0; i < 4; ++i) {
    staging.begin(std::vector<Tensor>{Tensor::full({64}, i), Tensor::full({3}, -i)});
    many_marks();  // as autotuning makes them while a step runs
    const std::vector<Tensor> got = staging.take();
    many_marks();
    CHECK(test::same_values(got[0].to(Device{}), Tensor::full({64}, i)));
    CHECK(test::same_values(got[1].to(Device{}), Tensor::full({3}, -i)));
  }
}

TEST_CASE("staging: batches of any shape and type arrive, two at a time") {
  const Device device = test::gpu();
  Staging staging(device);
  CHECK_THROWS_WITH_AS(staging.take(), doctest::Contains("nothing was begun"), Error);
  std::vector<Tensor> before;
  Tensor before_wanted;
  for (std::uint64_t i = 0; i < 7; ++i) {
    // Grows, shrinks, changes its type; the second is a channel slice.
    const auto n = static_cast<std::int64_t>(i == 3 ? 9 : i == 5 ? 1 : 4);
    const DType type = i == 6 ? DType::f64 : DType::f32;
    const Tensor image = test::normals({n, 3, 5, 2}, i, type);
    const Tensor mask = test::as_slice(test::integers({n, 3, 5, 1}, 9, i));
    const Tensor label = test::integers({n}, 2, i, DType::i64);
    const Tensor wanted = image.clone(), wanted_mask = mask.clone(), wanted_label = label.clone();
    staging.begin(std::vector<Tensor>{image, mask, label});
    image.fill(7);  // the host's memory is free again
    const std::vector<Tensor> got = staging.take();
    REQUIRE(got.size() == 3);
    for (const Tensor& t : got) CHECK(t.device() == device);
    CHECK(test::same_values(got[0].to(Device{}), wanted));
    CHECK(test::same_values(got[1].to(Device{}), wanted_mask));
    CHECK(test::same_values(got[2].to(Device{}), wanted_label));
    // The batch before is still there; only the next begin() takes its place.
    if (i > 0) CHECK(test::same_values(before[0].to(Device{}), before_wanted));
    before = got;
    before_wanted = wanted;
  }
  staging.begin(std::vector<Tensor>{Tensor::full({3}, 1)});
  staging.begin(std::vector<Tensor>{Tensor::full({3}, 2)});  // the first is dropped
  CHECK(test::same_values(staging.take()[0].to(Device{}), Tensor::full({3}, 2)));
  staging.begin(std::vector<Tensor>{});
  CHECK(staging.take().empty());
  staging.begin(std::vector<Tensor>{Tensor::zeros({0, 4})});
  CHECK(staging.take()[0].shape() == Shape{0, 4});
  CHECK_THROWS_AS(Staging(Device{}), Error);
  staging.begin(std::vector<Tensor>{Tensor::full({3}, 1)});  // never taken
}

TEST_CASE("device batches: asked for once, in order or not; the CPU's pass as they are") {
  struct Source : BatchSource {
    std::vector<std::pair<std::int64_t, std::int64_t>> asked;
    Tensor given;
    std::int64_t batches_per_epoch() const override { return 4; }
    Batch get(std::int64_t epoch, std::int64_t index) override {
      asked.emplace_back(epoch, index);
      given = Tensor::full({2, 3}, static_cast<double>(10 * epoch + index));
      return {{{"image", given}, {"label", Tensor::full({2}, 1, DType::i64)}}, {"a", "b"}};
    }
  } source;
  DeviceBatches batches(source, test::gpu());
  const Batch first = batches.get(0, 0);
  batches.prefetch(0, 1);
  const Batch second = batches.get(0, 1);
  CHECK(source.asked.size() == 2);
  CHECK(second.names == std::vector<std::string>{"a", "b"});
  CHECK(test::same_values(first.tensors.at("image").to(Device{}), Tensor::full({2, 3}, 0)));
  CHECK(test::same_values(second.tensors.at("image").to(Device{}), Tensor::full({2, 3}, 1)));
  CHECK(second.tensors.at("label").dtype() == DType::i64);
  batches.prefetch(0, 2);
  CHECK(test::same_values(batches.get(3, 1).tensors.at("image").to(Device{}),
                          Tensor::full({2, 3}, 31)));
  CHECK(source.asked.size() == 4);
  DeviceBatches here(source, Device{});
  here.prefetch(0, 0);
  CHECK(source.asked.size() == 4);
  const Batch batch = here.get(0, 0);
  CHECK(batch.tensors.at("image").raw() == source.given.raw());
}
