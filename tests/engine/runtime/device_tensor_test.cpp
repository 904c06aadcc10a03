// Tensors on a GPU behave as on the CPU.
#include <doctest/doctest.h>

#include "engine/runtime/allocator.h"
#include "engine/runtime/device.h"
#include "engine/runtime/profile.h"
#include "engine/tensor/half.h"
#include "engine/tensor/tensor.h"
#include "tests/support/check.h"
#include "tests/support/gpu.h"

using namespace thorax;

namespace {
const Device kSim{DeviceKind::sim, 0};
}

TEST_CASE("device: names, and a clear error for others") {
  CHECK(parse_device("cpu") == Device{});
  CHECK(parse_device("sim") == kSim);
  CHECK(device_info(parse_device("sim:2")).compute_capability == 90);
  for (const char* wrong : {"gpu", "sim:3", "sim:", "sim:x", "sim:-1", "cpu:1", ""})
    CHECK_THROWS_WITH_AS(parse_device(wrong), doctest::Contains("there are: cpu, "), Error);
}

TEST_CASE("device tensors: copies, slices, conversions, arithmetic") {
  const Device device = test::gpu();
  const Tensor a = test::normals({2, 5, 7, 12}, 1), b = test::normals({2, 5, 7, 4}, 2);
  const Tensor da = a.to(device);
  CHECK(test::same_values(da.to(Device{}), a));
  CHECK(test::same_values(da.channel_slice(3, 4).to(Device{}), a.channel_slice(3, 4)));
  for (const DType type : {DType::f16, DType::bf16, DType::f64, DType::i32})
    CHECK(test::same_values(da.channel_slice(1, 5).to(type).to(Device{}).to(DType::f64),
                            a.channel_slice(1, 5).to(type).to(DType::f64)));
  const Tensor sum = a.channel_slice(2, 4).clone();
  add_(sum, b);
  add_(da.channel_slice(2, 4), b.to(device));
  CHECK(test::same_values(da.channel_slice(2, 4).to(Device{}), sum));
  scale_(da.channel_slice(2, 4), 0.3);
  scale_(sum, 0.3);
  CHECK(test::same_values(da.channel_slice(2, 4).to(Device{}), sum));
  CHECK(test::same_values(nhwc_to_nchw(da).to(Device{}), nhwc_to_nchw(da.to(Device{}))));
  CHECK(sum_of_squares(da) == doctest::Approx(sum_of_squares(da.to(Device{}))).epsilon(1e-13));
  CHECK(all_finite(da));
  da.batch_slice(1, 1).channel_slice(11, 1).fill(std::numeric_limits<double>::infinity());
  CHECK_FALSE(all_finite(da));
  const std::string on = "is on " + to_string(device);
  CHECK_THROWS_WITH_AS(da.data<float>(), doctest::Contains(on.c_str()), Error);
  CHECK_THROWS_WITH_AS(add_(da.channel_slice(0, 4), b), doctest::Contains(on.c_str()), Error);
}

TEST_CASE("device memory: a limit, and an error that lists who holds what") {
  Allocator& memory = allocator(kSim);
  memory.set_limit(memory.stats().in_use + 1000000);
  std::vector<Tensor> held;
  std::string message;
  try {
    const ProfileScope scope("conv2d");
    for (int i = 0; i < 20; ++i) held.push_back(Tensor::empty({25000}, DType::f32, kSim));
  } catch (const Error& error) {
    message = error.what();
  }
  memory.set_limit(0);
  CHECK(held.size() == 10);
  CHECK(message.find("out of memory on sim:0: 100000 bytes wanted") != std::string::npos);
  CHECK(message.find("1000000 bytes in    10 blocks: conv2d") != std::string::npos);
}

TEST_CASE("storage moves with every tensor that shares it") {
  const Device device = test::gpu();
  const Tensor a = test::normals({3, 4}, 5), wanted = a.clone();
  const Tensor view = a.channel_slice(1, 2);
  a.storage()->move_to(device);
  CHECK(view.device() == device);
  CHECK(test::same_values(view.to(Device{}), wanted.channel_slice(1, 2)));
  a.storage()->move_to(Device{});
  CHECK(test::same_values(a, wanted));
}
