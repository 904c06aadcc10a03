// Clipping and the skip of a step, in one block: the factor goes into a row for every parameter.
#include "engine/optim/device_step.h"
#include "engine/runtime/launch.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

constexpr unsigned kStepThreads = 256;

__device__ bool is_finite(double v) {
  return v - v == 0;
}

// The host's arithmetic, operation by operation: square root, product and quotient of doubles round
// alike everywhere.
template <class T>
__global__ void finish_gradients_kernel(const T* loss, const double* sum,
                                        const std::int32_t* non_finite, double max_norm,
                                        double* values, std::int64_t rows, double* report,
                                        std::int32_t* skip) {
  double scale = values[0], norm = 0;
  if (max_norm > 0) {
    norm = sqrt(*sum) * scale;
    if (is_finite(norm) && norm > max_norm) scale *= max_norm / norm;
  }
  __syncthreads();  // all have read the scale
  for (std::int64_t row = threadIdx.x; row < rows; row += kStepThreads) values[4 * row] = scale;
  if (threadIdx.x != 0) return;
  const double value = static_cast<double>(*loss);
  const bool overflow = non_finite != nullptr && *non_finite != 0;
  report[0] = value;
  report[1] = norm;
  report[2] = overflow ? 1 : 0;
  *skip = overflow || !is_finite(value) || !is_finite(norm) ? 1 : 0;
}

template <class T>
void run_as(const Tensor& loss, const SquareSum& squares, double max_norm, const Tensor& values,
            const Tensor& report, const Tensor& skip) {
  const bool squared = squares.sum.defined();
  launch(THORAX_KERNEL(finish_gradients_kernel<T>), values.device(), {dim3(1), dim3(kStepThreads)},
         loss.device_data<T>(), squared ? squares.sum.device_data<double>() : nullptr,
         squared ? squares.non_finite.device_data<std::int32_t>() : nullptr, max_norm,
         values.device_data<double>(), values.size(0), report.device_data<double>(),
         skip.device_data<std::int32_t>());
}

void run(const Tensor& loss, const SquareSum& squares, double max_norm, const Tensor& values,
         const Tensor& report, const Tensor& skip) {
  loss.dtype() == DType::f64 ? run_as<double>(loss, squares, max_norm, values, report, skip)
                             : run_as<float>(loss, squares, max_norm, values, report, skip);
}

[[maybe_unused]] const bool registered = [] {
  register_device_step_kernels(THORAX_GPU_KIND, {.finish_gradients = run});
  return true;
}();

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
