// AdamW over all parameters at once: each launch takes up to a few dozen tensors
// (engine/tensor/tensor_list.cuh), a block per 4096 elements, 16-byte accesses. Parameter, gradient
// and both moments are read and written once; the bias corrections are folded into two constants a
// tensor. The flag of a step to skip is read on the device.
#include "engine/optim/step.h"
#include "engine/tensor/tensor_list.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

template <class T>
struct Constants {
  T scale, shrink, beta1, fresh1, beta2, fresh2, step_size, root_correction, epsilon;
  const double* now;  // null, or scale, shrink, step_size and root_correction of this step
};
template <class T>
using List = TensorList<T, 4, Constants<T>>;  // parameter, gradient, moments

template <class T>
__global__ __launch_bounds__(kListThreads) void adamw_kernel(List<T> list,
                                                             const std::int32_t* skip) {
  if (skip != nullptr && *skip != 0) return;
  const auto& entry = list.entries[list.entry_of_block()];
  Constants<T> s = entry.constants;
  if (s.now != nullptr) {
    s.scale = static_cast<T>(s.now[0]);
    s.shrink = static_cast<T>(s.now[1]);
    s.step_size = static_cast<T>(s.now[2]);
    s.root_correction = static_cast<T>(s.now[3]);
  }
  for_quads(entry, [&](std::int64_t i, int count) {
    Quad<T> p = load_quad(entry.arrays[0], i, count, entry.vectors);
    const Quad<T> gradient = load_quad(entry.arrays[1], i, count, entry.vectors);
    Quad<T> m = load_quad(entry.arrays[2], i, count, entry.vectors);
    Quad<T> v = load_quad(entry.arrays[3], i, count, entry.vectors);
    for (int k = 0; k < 4; ++k) {
      const T g = s.scale * gradient.v[k];
      m.v[k] = s.beta1 * m.v[k] + s.fresh1 * g;
      v.v[k] = s.beta2 * v.v[k] + s.fresh2 * (g * g);
      const T root = sqrt(v.v[k]) * s.root_correction + s.epsilon;
      p.v[k] = s.shrink * p.v[k] - s.step_size * m.v[k] / root;
    }
    store_quad(entry.arrays[0], i, count, entry.vectors, p);
    store_quad(entry.arrays[2], i, count, entry.vectors, m);
    store_quad(entry.arrays[3], i, count, entry.vectors, v);
  });
}

template <class T>
void run_as(std::span<const AdamWUpdate> updates, const Tensor& found_non_finite) {
  in_lists<List<T>>(
      updates.size(),
      [&](std::size_t i, auto& entry) {
        const auto& [s, parameter, grad, exp_avg, exp_avg_sq, values] = updates[i];
        entry.count = parameter.dtype() == DTypeOf<T>::value ? parameter.numel() : 0;
        if (entry.count == 0) return;
        entry.arrays[0] = parameter.device_data<T>();
        entry.arrays[1] = grad.device_data<T>();
        entry.arrays[2] = exp_avg.device_data<T>();
        entry.arrays[3] = exp_avg_sq.device_data<T>();
        const AdamWValues v = adamw_values(s);
        entry.constants = {static_cast<T>(s.grad_scale),
                           static_cast<T>(v.shrink),
                           static_cast<T>(s.beta1),
                           static_cast<T>(1 - s.beta1),
                           static_cast<T>(s.beta2),
                           static_cast<T>(1 - s.beta2),
                           static_cast<T>(v.step_size),
                           static_cast<T>(v.root_correction),
                           static_cast<T>(s.epsilon),
                           values.defined() ? values.template device_data<double>() : nullptr};
      },
      [&](const List<T>& list, unsigned blocks) {
        launch(THORAX_KERNEL(adamw_kernel<T>), updates[0].parameter.device(),
               {dim3(blocks), dim3(kListThreads)}, list,
               found_non_finite.defined() ? found_non_finite.device_data<std::int32_t>() : nullptr);
      });
}

void run(std::span<const AdamWUpdate> updates, const Tensor& found_non_finite) {
  run_as<float>(updates, found_non_finite);
  run_as<double>(updates, found_non_finite);
}

}  // namespace

THORAX_PROVIDER(adamw_gpu, adamw_step_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority = [](const AdamWStep&) { return 10; },
                 .run = run});

}  // namespace THORAX_GPU
}  // namespace thorax
