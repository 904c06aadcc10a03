#include "engine/optim/device_step.h"

#include <array>

namespace thorax {
namespace {

std::array<DeviceStepKernels, 3>& tables() {
  static std::array<DeviceStepKernels, 3> instance{};
  return instance;
}

}  // namespace

void register_device_step_kernels(DeviceKind kind, const DeviceStepKernels& kernels) {
  tables()[static_cast<std::size_t>(kind)] = kernels;
}

void finish_gradients(const Tensor& loss, const SquareSum& squares, double max_norm,
                      const Tensor& values, const Tensor& report, const Tensor& skip) {
  const Device device = values.device();
  const DeviceStepKernels& kernels = tables()[static_cast<std::size_t>(device.kind)];
  THORAX_CHECK(kernels.finish_gradients != nullptr, "[device_step] {} is no GPU",
               to_string(device));
  THORAX_CHECK(loss.numel() == 1 && (loss.dtype() == DType::f32 || loss.dtype() == DType::f64),
               "[device_step] the loss is {} {}, not one f32 or f64", loss.shape(),
               name_of(loss.dtype()));
  THORAX_CHECK(values.rank() == 2 && values.size(1) == 4 && values.dtype() == DType::f64 &&
                   report.numel() == kStepReport && report.dtype() == DType::f64 &&
                   skip.numel() == 1 && skip.dtype() == DType::i32,
               "[device_step] values {}, report {}, skip {}", values.shape(), report.shape(),
               skip.shape());
  THORAX_CHECK(squares.sum.defined() || max_norm <= 0,
               "[device_step] clipping wants the gradients' squares");
  for (const Tensor* t : {&loss, &squares.sum, &squares.non_finite, &report, &skip})
    THORAX_CHECK(!t->defined() || t->device() == device, "[device_step] tensors on {} and {}",
                 to_string(device), to_string(t->device()));
  kernels.finish_gradients(loss, squares, max_norm, values, report, skip);
}

}  // namespace thorax
