// The vendor's average pooling on a GPU: provider "cudnn", to compare with and to select. Its
// maximum goes back from x and y, which our contract does not keep (one byte per window instead).
#if defined(THORAX_WITH_CUDNN)

#include "kernels/common/cudnn.h"
#include "kernels/pool/pool.h"

namespace thorax {
namespace {

using vendor::TensorDescriptor;
constexpr float kOne = 1, kZero = 0;

class Window : public vendor::PoolingDescriptor {
 public:
  explicit Window(const PoolProblem& p) {
    vendor::check(
        cudnnSetPooling2dDescriptor(
            *this,
            p.count_include_pad ? CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING
                                : CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING,
            CUDNN_PROPAGATE_NAN, static_cast<int>(p.kernel_h), static_cast<int>(p.kernel_w),
            static_cast<int>(p.pad_h), static_cast<int>(p.pad_w), static_cast<int>(p.stride_h),
            static_cast<int>(p.stride_w)),
        "pooling");
  }
};

void forward(const PoolProblem& p, const Tensor& x, const Tensor& y, const Tensor&) {
  if (y.numel() == 0) return;
  vendor::check(
      cudnnPoolingForward(vendor::cudnn(x.device()), Window(p), &kOne, TensorDescriptor(x), x.raw(),
                          &kZero, TensorDescriptor(y), y.raw()),
      "average pooling");
}

// cuDNN asks for x and y, too; an average's gradient does not depend on their values.
void backward(const PoolProblem& p, const Tensor& dy, const Tensor&, const Tensor& dx) {
  if (dx.numel() == 0) return;
  if (dy.numel() == 0) {
    dx.fill(0);
    return;
  }
  const TensorDescriptor of_dy(dy), of_dx(dx);
  const Tensor x = Tensor::zeros(dx.shape(), dx.dtype(), dx.device()),
               y = Tensor::zeros(dy.shape(), dy.dtype(), dy.device());
  const TensorDescriptor of_x(x), of_y(y);
  vendor::check(cudnnPoolingBackward(vendor::cudnn(dy.device()), Window(p), &kOne, of_y, y.raw(),
                                     of_dy, dy.raw(), of_x, x.raw(), &kZero, of_dx, dx.raw()),
                "average pooling's gradient");
}

// Never the default: it is chosen by name. Windows that only ceil_mode adds are not cuDNN's.
int priority(const PoolProblem& p) {
  if (!vendor::cudnn_here()) return -1;
  PoolProblem floor = p;
  floor.ceil_mode = false;
  const bool type = p.dtype == DType::f32 || p.dtype == DType::f16 || p.dtype == DType::bf16;
  return type && p.kind == PoolKind::avg && floor.out_height() == p.out_height() &&
                 floor.out_width() == p.out_width()
             ? 0
             : -1;
}

}  // namespace

THORAX_PROVIDER(pool_cudnn, pool_providers(),
                {.name = "cudnn",
                 .device = DeviceKind::cuda,
                 .priority = priority,
                 .forward = forward,
                 .backward = backward});

}  // namespace thorax

#endif
