// conv2d's passes by the products of kernels/common/gpu_mma.cuh, for each arithmetic.
#pragma once

#include "kernels/common/gpu_mma.cuh"
#include "kernels/conv2d/conv_shape.h"

namespace thorax {
namespace THORAX_GPU {
namespace mma {
namespace {

template <class Math>
void forward(const Conv2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& residual, const Tensor& y) {
  conv_forward<Math>(conv_shape(p), x, w, bias, residual, p.relu, y);
}

template <class Math>
void backward_data(const Conv2dProblem& p, const Tensor& dy, const Tensor& w, const Tensor& y,
                   const Tensor& dx) {
  if (dx.numel() == 0) return;
  conv_adjoint<Math>(conv_shape(p), p.relu ? passes::masked_gradient(dy, y) : dy, w, {}, dx);
}

template <class Math>
void backward_filter(const Conv2dProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dw, const Tensor& dbias) {
  const Tensor gradient = p.relu ? passes::masked_gradient(dy, y) : dy;
  conv_filter_gradient<Math>(conv_shape(p), x, gradient, dw);
  if (dbias.defined()) passes::bias_gradient(gradient, dbias);
}

}  // namespace
}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
