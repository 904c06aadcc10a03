// The vendor's matrix product: provider "cublas". cuBLAS counts columns first, so each of our
// row-major matrices is its transpose there: y = x w^T is computed as y^T = w x^T.
#if defined(THORAX_WITH_CUDNN)

#include "kernels/common/cudnn.h"
#include "kernels/linear/linear.h"

namespace thorax {
namespace {

constexpr float kOne = 1, kZero = 0;

cudaDataType_t type_of(DType dtype) {
  return dtype == DType::f16 ? CUDA_R_16F : dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

// c (rows x columns, column-major) = op(a) op(b), sums over `inner` in float32.
void product(const char* what, cublasOperation_t op_a, cublasOperation_t op_b, std::int64_t rows,
             std::int64_t columns, std::int64_t inner, const Tensor& a, const Tensor& b,
             const Tensor& c) {
  const auto leading = [](const Tensor& t) { return static_cast<int>(t.pixel_stride()); };
  cublasHandle_t handle = vendor::cublas(c.device());
  // float32 without TF32 or any other saving; 16 bit on tensor cores, but with float32 sums.
  const bool exact = a.dtype() == DType::f32;
  vendor::check(cublasSetMathMode(handle, exact ? CUBLAS_PEDANTIC_MATH
                                                : CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION),
                "math mode");
  vendor::check(
      cublasGemmEx(handle, op_a, op_b, static_cast<int>(rows), static_cast<int>(columns),
                   static_cast<int>(inner), &kOne, a.raw(), type_of(a.dtype()), leading(a), b.raw(),
                   type_of(b.dtype()), leading(b), &kZero, c.raw(), type_of(c.dtype()), leading(c),
                   exact ? CUBLAS_COMPUTE_32F_PEDANTIC : CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      what);
}

Tensor masked(const LinearProblem& p, const Tensor& dy, const Tensor& y) {
  return p.relu ? vendor::relu_gradient(dy, y) : dy;
}

void forward(const LinearProblem& p, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& y) {
  if (y.numel() == 0) return;
  product("y = x w^T", CUBLAS_OP_T, CUBLAS_OP_N, p.out_features, p.rows, p.in_features, weight, x,
          y);
  if (bias.defined()) vendor::add_bias(y, bias);
  if (p.relu) vendor::apply_relu(y);
}

void backward_data(const LinearProblem& p, const Tensor& dy, const Tensor& weight, const Tensor& y,
                   const Tensor& dx) {
  if (dx.numel() == 0) return;
  product("dx = dy w", CUBLAS_OP_N, CUBLAS_OP_N, p.in_features, p.rows, p.out_features, weight,
          masked(p, dy, y), dx);
}

void backward_weight(const LinearProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dweight, const Tensor& dbias) {
  if (dy.numel() == 0) {
    dweight.fill(0);
    if (dbias.defined()) dbias.fill(0);
    return;
  }
  const Tensor grad = masked(p, dy, y);
  product("dw = dy^T x", CUBLAS_OP_N, CUBLAS_OP_T, p.in_features, p.out_features, p.rows, x, grad,
          dweight);
  if (dbias.defined()) vendor::sum_bias_gradient(grad, dbias);
}

int priority(const LinearProblem& p) {
  if (!vendor::cublas_here()) return -1;
  const bool fits = p.in_features > 0 && p.out_features > 0;
  return fits && (p.dtype == DType::f32 || p.dtype == DType::f16 || p.dtype == DType::bf16) ? 0
                                                                                            : -1;
}

}  // namespace

THORAX_PROVIDER(linear_cublas, linear_providers(),
                {.name = "cublas",
                 .device = DeviceKind::cuda,
                 .priority = priority,
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_weight = backward_weight});

}  // namespace thorax

#endif
