// The simulator catches what it promises to catch. The kernels here are wrong on purpose.
#include <doctest/doctest.h>

#include <limits>

#include "engine/runtime/launch.cuh"
#include "engine/tensor/tensor.h"

using namespace thorax;
using thorax::sim_build::dynamic_shared;

namespace {

const Device kSim{DeviceKind::sim, 0};

struct Row {
  float values[256];
};

// Sums 256 values with a tree; `barrier` leaves the barrier between the levels out when false.
__global__ void tree_sum(const float* in, float* out, bool barrier) {
  THORAX_SHARED(Row, row);
  row.values[threadIdx.x] = in[threadIdx.x];
  for (unsigned width = 128; width > 0; width /= 2) {
    if (barrier) __syncthreads();
    if (threadIdx.x < width) row.values[threadIdx.x] += row.values[threadIdx.x + width];
  }
  if (threadIdx.x == 0) *out = row.values[0];
}

__global__ void warp_sum(const float* in, float* out) {
  float value = in[threadIdx.x];
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
  out[threadIdx.x] = value;
  const unsigned odd = __ballot_sync(0xffffffffu, static_cast<int>(threadIdx.x) & 1);
  if (odd != 0xaaaaaaaau) out[threadIdx.x] = -1;
}

__global__ void diverges() {
  if (threadIdx.x < 32) __syncthreads();
}
__global__ void wrong_mask(float* out) {
  if (threadIdx.x < 8) out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}
__global__ void leaves_itself_out() {
  __syncwarp(0xfffffffeu);
}
__global__ void takes_shared(int) {
  struct Large {
    float values[13000];
  };
  THORAX_SHARED(Large, large);
  large.values[threadIdx.x] = 0;
}
__global__ void reads_unset(float* out) {
  THORAX_SHARED(Row, row);
  out[threadIdx.x] = row.values[threadIdx.x];
}
__global__ void counts(unsigned* total, int* kept) {
  atomicAdd(total, 1u);
  const int n = __syncthreads_count(threadIdx.x % 3 == 0);
  if (threadIdx.x == 0 && blockIdx.x + blockIdx.y == 0) *kept = n;
}
__global__ void copies_asynchronously(const float* in, float* out, bool wait) {
  float* shared = dynamic_shared<float>();
  sim::async_copy(shared + 4 * threadIdx.x, in + 4 * threadIdx.x, 16, 16);
  sim::async_commit();
  if (wait) sim::async_wait(0);
  __syncthreads();
  for (int i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = shared[4 * threadIdx.x + i];
  sim::async_wait(0);
}
// Reads in[0], or what lies at the same place of shared memory or of the thread's own stack, by a
// load that exists for global memory only.
__global__ void loads_as_global(const float* in, float* out, sim::Space from, bool past_l1) {
  THORAX_SHARED(Row, row);
  float* const dynamic = dynamic_shared<float>();
  float own[4] = {1, 2, 3, 4};
  row.values[threadIdx.x] = dynamic[threadIdx.x] = 5;
  const float* const address = from == sim::Space::global  ? in
                               : from == sim::Space::local ? own
                               : past_l1                   ? dynamic
                                                           : row.values;
  out[threadIdx.x] =
      past_l1 ? static_cast<float>(__ldcg(reinterpret_cast<const int*>(address))) : __ldg(address);
}
__global__ void counts_on_the_stack(int* out) {
  int own = 0;
  atomicAdd(&own, 1);
  *out = own;
}
__global__ void counts_in_shared(int* out) {
  THORAX_SHARED(int, count);
  if (threadIdx.x == 0) count = 0;
  __syncthreads();
  atomicAdd(&count, 1);
  __syncthreads();
  if (threadIdx.x == 0) *out = count;
}
__global__ void copies_the_wrong_way(float* global, bool from_shared) {
  float* shared = dynamic_shared<float>();
  if (from_shared)
    sim::async_copy(shared, shared + 4, 16, 16);
  else
    sim::async_copy(global + 4, global, 16, 16);
  sim::async_wait(0);
}

Tensor ramp(std::int64_t count) {
  const Tensor t = Tensor::empty({count});
  for (std::int64_t i = 0; i < count; ++i) t.data<float>()[i] = static_cast<float>(i % 17);
  return t.to(kSim);
}

struct OrderScope {
  explicit OrderScope(sim::Order order, std::uint64_t seed = 0) { sim::set_order(order, seed); }
  ~OrderScope() { sim::set_order(sim::Order::forward); }
};

float run_tree(bool barrier) {
  const Tensor in = ramp(256), out = Tensor::zeros({1}, DType::f32, kSim);
  launch(THORAX_KERNEL(tree_sum), kSim, {dim3(1), dim3(256)}, in.device_data<float>(),
         out.device_data<float>(), barrier);
  return static_cast<float>(out.item());
}

}  // namespace

TEST_CASE("sim: barriers, in every order of threads") {
  float wanted = 0;
  for (int i = 0; i < 256; ++i) wanted += static_cast<float>(i % 17);
  for (const sim::Order order : {sim::Order::forward, sim::Order::reverse, sim::Order::random}) {
    const OrderScope scope(order, 7);
    CHECK(run_tree(true) == wanted);
  }
#if !defined(__SANITIZE_THREAD__)
  // Without the barrier one of the orders gives something else (TSan would stop the program here).
  bool caught = false;
  for (const sim::Order order : {sim::Order::forward, sim::Order::reverse, sim::Order::random}) {
    const OrderScope scope(order, 7);
    caught = caught || !(run_tree(false) == wanted);
  }
  CHECK(caught);
#endif
}

TEST_CASE("sim: shuffles, votes and block-wide counts") {
  const Tensor in = ramp(64), out = Tensor::zeros({64}, DType::f32, kSim);
  launch(THORAX_KERNEL(warp_sum), kSim, {dim3(1), dim3(64)}, in.device_data<float>(),
         out.device_data<float>());
  const Tensor host_in = in.to(Device{}), host_out = out.to(Device{});
  for (int w = 0; w < 2; ++w) {
    float sum = 0;
    for (int i = 0; i < 32; ++i) sum += host_in.data<float>()[32 * w + i];
    for (int i = 0; i < 32; ++i) CHECK(host_out.data<float>()[32 * w + i] == sum);
  }
  const Tensor total = Tensor::zeros({1}, DType::i32, kSim),
               kept = Tensor::zeros({1}, DType::i32, kSim);
  launch(THORAX_KERNEL(counts), kSim, {dim3(5, 2), dim3(96)}, static_cast<unsigned*>(total.raw()),
         kept.device_data<std::int32_t>());
  CHECK(total.item() == 960);
  CHECK(kept.item() == 32);
}

TEST_CASE("sim: what a GPU would hang on or refuse is an error that names the kernel") {
  CHECK_THROWS_WITH_AS(launch(THORAX_KERNEL(diverges), kSim, {dim3(1), dim3(64)}),
                       doctest::Contains("diverges: barrier divergence: 32 of 64"), Error);
  const Tensor out = Tensor::zeros({64}, DType::f32, kSim);
  CHECK_THROWS_WITH_AS(
      launch(THORAX_KERNEL(wrong_mask), kSim, {dim3(1), dim3(32)}, out.device_data<float>()),
      doctest::Contains("wrong_mask: "), Error);
  CHECK_THROWS_WITH_AS(launch(THORAX_KERNEL(leaves_itself_out), kSim, {dim3(1), dim3(32)}),
                       doctest::Contains("leaves it out"), Error);
  CHECK_THROWS_WITH_AS(launch(THORAX_KERNEL(takes_shared), kSim, {dim3(1), dim3(32)}, 0),
                       doctest::Contains("52000 bytes of static shared memory, sm_75 has 49152"),
                       Error);
  CHECK_THROWS_WITH_AS(launch(THORAX_KERNEL(diverges), kSim, {dim3(1), dim3(1025)}),
                       doctest::Contains("a block of 1025 x 1 x 1 threads"), Error);
  CHECK_THROWS_WITH_AS(launch(THORAX_KERNEL(diverges), kSim, {dim3(1), dim3(32), 65 * 1024}),
                       doctest::Contains("66560 bytes of dynamic shared memory"), Error);
  // After all that the device still works.
  CHECK(run_tree(true) > 0);
}

TEST_CASE("sim: memory nobody wrote is NaN") {
  const Tensor out = Tensor::zeros({32}, DType::f32, kSim);
  launch(THORAX_KERNEL(reads_unset), kSim, {dim3(1), dim3(32)}, out.device_data<float>());
  CHECK(std::isnan(out.to(Device{}).data<float>()[5]));
  CHECK(std::isnan(Tensor::empty({3}, DType::f32, kSim).to(Device{}).data<float>()[2]));
}

TEST_CASE("sim: cp.async needs sm_80 and arrives at the wait, not before") {
  const Device ampere{DeviceKind::sim, 1};
  const Tensor in = ramp(128).to(Device{}).to(ampere),
               out = Tensor::zeros({128}, DType::f32, ampere);
  const auto run = [&](Device device, bool wait) {
    launch(THORAX_KERNEL(copies_asynchronously), device, {dim3(1), dim3(32), 512},
           in.device_data<float>(), out.device_data<float>(), wait);
    return out.to(Device{}).data<float>()[20];
  };
  CHECK(run(ampere, true) == 3);
  CHECK(std::isnan(run(ampere, false)));
  CHECK_THROWS_WITH_AS(run(kSim, true),
                       doctest::Contains("cp.async needs sm_80, the device is sm_75"), Error);
}

TEST_CASE("sim: an instruction on global memory refuses shared and local addresses") {
  const Tensor in = ramp(32), out = Tensor::zeros({32}, DType::f32, kSim);
  const auto load = [&](sim::Space from, bool past_l1) {
    launch(THORAX_KERNEL(loads_as_global), kSim, {dim3(1), dim3(32), 128}, in.device_data<float>(),
           out.device_data<float>(), from, past_l1);
  };
  load(sim::Space::global, false);
  load(sim::Space::global, true);
  CHECK_THROWS_WITH_AS(load(sim::Space::shared, false),
                       doctest::Contains("loads_as_global: thread (0, 0, 0) of block (0, 0, 0): "
                                         "__ldg of an address in shared memory"),
                       Error);
  CHECK_THROWS_WITH_AS(load(sim::Space::shared, true),
                       doctest::Contains("__ldcg of an address in shared memory"), Error);
#if !defined(__SANITIZE_ADDRESS__)  // it keeps such variables on a stack of its own
  CHECK_THROWS_WITH_AS(load(sim::Space::local, false),
                       doctest::Contains("__ldg of an address in local memory"), Error);
  CHECK_THROWS_WITH_AS(load(sim::Space::local, true), doctest::Contains("__ldcg of an address in "),
                       Error);
  const Tensor count = Tensor::zeros({1}, DType::i32, kSim);
  CHECK_THROWS_WITH_AS(launch(THORAX_KERNEL(counts_on_the_stack), kSim, {dim3(1), dim3(1)},
                              count.device_data<std::int32_t>()),
                       doctest::Contains("atomicAdd of an address in local"), Error);
#endif
  const Tensor total = Tensor::zeros({1}, DType::i32, kSim);
  launch(THORAX_KERNEL(counts_in_shared), kSim, {dim3(1), dim3(96)},
         total.device_data<std::int32_t>());
  CHECK(total.item() == 96);
  const Device ampere{DeviceKind::sim, 1};
  const Tensor memory = Tensor::zeros({8}, DType::f32, ampere);
  for (const bool from_shared : {true, false})
    CHECK_THROWS_WITH_AS(launch(THORAX_KERNEL(copies_the_wrong_way), ampere, {dim3(1), dim3(1), 32},
                                memory.device_data<float>(), from_shared),
                         doctest::Contains(from_shared ? "cp.async from an address in shared"
                                                       : "cp.async to an address in global"),
                         Error);
}
