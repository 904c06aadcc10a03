// Fully connected layer: y[n,k] = act( bias[k] + sum_c x[n,c] * w[k,c] ), act = ReLU or identity.
#pragma once

#include <cstdint>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

// Everything that decides which kernel can run; passed whole.
struct LinearProblem {
  std::int64_t rows = 0, in_features = 0, out_features = 0;
  bool bias = false;  // bias[out_features] is added
  bool relu = false;  // y = max(0, .)
  // Of x, y, dy, dx and the weight. Beside f16 and bf16 the bias, dweight and dbias are f32
  // (kernels/common/precision.h).
  DType dtype = DType::f32;

  Shape input_shape() const { return {rows, in_features}; }
  Shape weight_shape() const { return {out_features, in_features}; }
  Shape output_shape() const { return {rows, out_features}; }
  // Multiply-adds count as two.
  double flops() const {
    return 2.0 * static_cast<double>(rows) * static_cast<double>(in_features) *
           static_cast<double>(out_features);
  }
  // "8x2048 * 1000x2048 +bias"
  std::string to_string() const;
};

// x, y, dy and dx may be slices (pixel stride = distance of rows); weight, bias and their gradients
// are contiguous. Outputs are overwritten. `y` in the backward functions is the forward output and
// only read when problem.relu: the gradient passes where y > 0 (a NaN stays a NaN, in both
// directions). Undefined `bias` and `dbias` mean absent.
struct LinearProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const LinearProblem&);
  void (*forward)(const LinearProblem&, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const Tensor& y);
  void (*backward_data)(const LinearProblem&, const Tensor& dy, const Tensor& weight,
                        const Tensor& y, const Tensor& dx);
  void (*backward_weight)(const LinearProblem&, const Tensor& x, const Tensor& dy, const Tensor& y,
                          const Tensor& dweight, const Tensor& dbias);
};

Registry<LinearProvider>& linear_providers();

// The provider for one pass of a problem: the registry's choice, or with autotuning the fastest
// (engine/registry/autotune.h).
enum class LinearPass : std::uint8_t { forward, backward_data, backward_weight };
const LinearProvider& linear_provider(const LinearProblem& problem, LinearPass pass, Device device);

// The problem of a call; throws Error "[linear] ..." naming the shapes when they do not fit.
// `bias` may be undefined.
LinearProblem linear_problem(const Tensor& x, const Tensor& weight, const Tensor& bias, bool relu);

// Differentiable. x: N x in, weight: out x in, bias: out or undefined; result N x out.
Variable linear(const Variable& x, const Variable& weight, const Variable& bias, bool relu = false);

}  // namespace thorax
