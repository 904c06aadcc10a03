// What happens between the gradients and the optimizer of a step that nobody waits for: clipping,
// and whether the step is left out. The host does the same for ordinary steps (Trainer::update).
#pragma once

#include "engine/tensor/square_sum.h"

namespace thorax {

// The host's view of a step, {kStepReport} f64: the loss; the norm of the gradients times their
// scale, before clipping (0 when not clipped); 1 when a gradient is not finite.
inline constexpr std::int64_t kStepReport = 3;

// On the device of `values` (a GPU), without waiting:
//   norm = sqrt(squares.sum) * scale, scale = the first column of `values`
//   (Optimizer::next_values), which becomes scale * clip_factor(norm, max_norm) in every row; skip
//   = 1 when the loss, or with squares a gradient, is not finite, else 0.
// loss: one f32 or f64. `squares` may be undefined without clipping. report: {kStepReport} f64;
// skip: {1} i32.
void finish_gradients(const Tensor& loss, const SquareSum& squares, double max_norm,
                      const Tensor& values, const Tensor& report, const Tensor& skip);

// Implemented by device_step.cu.
struct DeviceStepKernels {
  void (*finish_gradients)(const Tensor& loss, const SquareSum& squares, double max_norm,
                           const Tensor& values, const Tensor& report,
                           const Tensor& skip) = nullptr;
};
void register_device_step_kernels(DeviceKind kind, const DeviceStepKernels& kernels);

}  // namespace thorax
