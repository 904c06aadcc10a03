// SGD over all parameters at once: each launch takes up to a few dozen tensors
// (engine/tensor/tensor_list.cuh), a block per 4096 elements, 16-byte accesses. Parameter, gradient
// and momentum buffer are read and written once; the flag of a step to skip is read on the device,
// so that a loss scale which was too large costs no synchronisation.
#include "engine/optim/step.h"
#include "engine/tensor/tensor_list.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

enum class Momentum : int { none, first, plain };

template <class T>
struct Constants {
  T scale, decay, momentum, fresh, lr;
  Momentum kind;
  bool nesterov;
  const double* now;  // null, or grad_scale, lr and first of this step (engine/optim/step.h)
};
template <class T>
using List = TensorList<T, 3, Constants<T>>;  // parameter, gradient, momentum

template <class T>
__global__ __launch_bounds__(kListThreads) void sgd_kernel(List<T> list, const std::int32_t* skip) {
  if (skip != nullptr && *skip != 0) return;
  const auto& entry = list.entries[list.entry_of_block()];
  Constants<T> s = entry.constants;
  if (s.now != nullptr) {
    s.scale = static_cast<T>(s.now[0]);
    s.lr = static_cast<T>(s.now[1]);
    if (s.kind != Momentum::none) s.kind = s.now[2] != 0 ? Momentum::first : Momentum::plain;
  }
  for_quads(entry, [&](std::int64_t i, int count) {
    Quad<T> p = load_quad(entry.arrays[0], i, count, entry.vectors);
    const Quad<T> gradient = load_quad(entry.arrays[1], i, count, entry.vectors);
    Quad<T> m{};
    if (s.kind == Momentum::plain) m = load_quad(entry.arrays[2], i, count, entry.vectors);
    for (int k = 0; k < 4; ++k) {
      T g = s.scale * gradient.v[k] + s.decay * p.v[k];
      if (s.kind != Momentum::none) {
        m.v[k] = s.kind == Momentum::first ? g : s.momentum * m.v[k] + s.fresh * g;
        g = s.nesterov ? g + s.momentum * m.v[k] : m.v[k];
      }
      p.v[k] -= s.lr * g;
    }
    store_quad(entry.arrays[0], i, count, entry.vectors, p);
    if (s.kind != Momentum::none) store_quad(entry.arrays[2], i, count, entry.vectors, m);
  });
}

template <class T>
void run_as(std::span<const SgdUpdate> updates, const Tensor& found_non_finite) {
  in_lists<List<T>>(
      updates.size(),
      [&](std::size_t i, auto& entry) {
        const auto& [s, parameter, grad, momentum, values] = updates[i];
        entry.count = parameter.dtype() == DTypeOf<T>::value ? parameter.numel() : 0;
        if (entry.count == 0) return;
        entry.arrays[0] = parameter.device_data<T>();
        entry.arrays[1] = grad.device_data<T>();
        entry.arrays[2] = momentum.defined() ? momentum.device_data<T>() : nullptr;
        entry.constants = {static_cast<T>(s.grad_scale),
                           static_cast<T>(s.weight_decay),
                           static_cast<T>(s.momentum),
                           static_cast<T>(1 - s.dampening),
                           static_cast<T>(s.lr),
                           !momentum.defined() ? Momentum::none
                           : s.first           ? Momentum::first
                                               : Momentum::plain,
                           s.nesterov,
                           values.defined() ? values.template device_data<double>() : nullptr};
      },
      [&](const List<T>& list, unsigned blocks) {
        launch(THORAX_KERNEL(sgd_kernel<T>), updates[0].parameter.device(),
               {dim3(blocks), dim3(kListThreads)}, list,
               found_non_finite.defined() ? found_non_finite.device_data<std::int32_t>() : nullptr);
      });
}

void run(std::span<const SgdUpdate> updates, const Tensor& found_non_finite) {
  run_as<float>(updates, found_non_finite);
  run_as<double>(updates, found_non_finite);
}

}  // namespace

THORAX_PROVIDER(sgd_gpu, sgd_step_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority = [](const SgdStep&) { return 10; },
                 .run = run});

}  // namespace THORAX_GPU
}  // namespace thorax
