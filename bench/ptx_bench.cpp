// How fast the two machines that stand in for a GPU run the same kernels: the simulator (fibres,
// the kernels' source) and the PTX machine. One forward convolution each, the best of three.
//
//   THORAX_PTX=build-cuda/ptx build/bench/ptx_bench
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "engine/runtime/device.h"
#include "engine/runtime/ptx_devices.h"
#include "engine/tensor/tensor.h"
#include "kernels/conv2d/conv2d.h"

using namespace thorax;

namespace {

double seconds_of(const Conv2dProvider& provider, const Conv2dProblem& p, Device device) {
  const DeviceScope scope(device);
  if (provider.priority(p) < 0) return 0;
  const Tensor x = Tensor::zeros(p.input_shape(), p.dtype, device);
  const Tensor w = Tensor::zeros(p.filter_shape(), p.dtype, device);
  const Tensor y = Tensor::empty(p.output_shape(), p.dtype, device);
  double best = 1e30;
  for (int i = 0; i < 3; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    provider.forward(p, x, w, {}, {}, y);
    synchronize(device);
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

}  // namespace

int main() {
  if (const std::string why = why_no_ptx(); !why.empty()) {
    fmt::print(stderr, "ptx_bench: {}\n", why);
    return 1;
  }
  struct Row {
    const char* provider;
    DType dtype;
    int card;
    std::int64_t channels;
  };
  const Row rows[] = {{"cuda/naive", DType::f32, 0, 32},     {"cuda/tiled", DType::f32, 0, 64},
                      {"cuda/winograd", DType::f32, 0, 64},  {"cuda/narrow", DType::f32, 0, 1},
                      {"cuda/mma", DType::f16, 0, 64},       {"cuda/mma_async", DType::f16, 2, 64},
                      {"cuda/mma_async", DType::bf16, 2, 64}};
  fmt::print("{}\n| kernel | problem | sim | ptx | ptx is |\n|---|---|---|---|---|\n",
             processor_name());
  for (const Row& row : rows) {
    Conv2dProblem p;
    p.batch = 1;
    p.height = p.width = 28;
    p.in_channels = row.channels;
    p.out_channels = 64;
    p.kernel_h = p.kernel_w = 3;
    p.pad_h = p.pad_w = 1;
    p.dtype = row.dtype;
    const Conv2dProvider& provider = conv2d_providers().named(row.provider, DeviceKind::sim);
    const double sim = seconds_of(provider, p, {DeviceKind::sim, row.card});
    const double ptx = seconds_of(provider, p, ptx_device(row.card));
    fmt::print("| `{}` {} | {} | {:.2f} GFLOP/s | {:.2f} GFLOP/s | {:.1f} x |\n", row.provider,
               name_of(row.dtype), p.to_string(), p.flops() / sim * 1e-9, p.flops() / ptx * 1e-9,
               sim / ptx);
  }
}
