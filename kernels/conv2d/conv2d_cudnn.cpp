// The vendor's convolution, to compare with and to select: provider "cudnn".
//
// cuDNN's heuristics rank the algorithms of a problem; the first deterministic one that runs within
// the workspace limit is taken, once per problem, and reported by conv2d_cudnn_algorithms. f32
// problems use FMA arithmetic (no TF32), 16-bit ones tensor cores with float32 sums.
#if defined(THORAX_WITH_CUDNN)

#include "kernels/conv2d/conv2d_cudnn.h"

#include <map>
#include <mutex>

#include "engine/runtime/device.h"
#include "kernels/common/cudnn.h"

namespace thorax {
namespace {

using vendor::ConvolutionDescriptor;
using vendor::FilterDescriptor;
using vendor::TensorDescriptor;
constexpr std::size_t kWorkspaceLimit = std::size_t{512} << 20;  // bytes
constexpr float kOne = 1, kZero = 0;

struct Choice {
  int algorithm = 0;
  std::size_t workspace = 0;
};

std::mutex choices_mutex;
std::map<std::string, Choice>& choices() {
  static std::map<std::string, Choice> table;
  return table;
}

struct Descriptors {
  ConvolutionDescriptor convolution;
  FilterDescriptor filter;
  explicit Descriptors(const Conv2dProblem& p) {
    vendor::check(cudnnSetFilter4dDescriptor(
                      filter, vendor::type_of(p.dtype), CUDNN_TENSOR_NHWC,
                      static_cast<int>(p.out_channels), static_cast<int>(p.in_channels / p.groups),
                      static_cast<int>(p.kernel_h), static_cast<int>(p.kernel_w)),
                  "filter");
    vendor::check(
        cudnnSetConvolution2dDescriptor(
            convolution, static_cast<int>(p.pad_h), static_cast<int>(p.pad_w),
            static_cast<int>(p.stride_h), static_cast<int>(p.stride_w),
            static_cast<int>(p.dilation_h), static_cast<int>(p.dilation_w), CUDNN_CROSS_CORRELATION,
            p.dtype == DType::f64 ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT),
        "convolution");
    vendor::check(cudnnSetConvolutionGroupCount(convolution, static_cast<int>(p.groups)), "groups");
    vendor::check(cudnnSetConvolutionMathType(
                      convolution, p.dtype == DType::f32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH),
                  "math type");
  }
};

// The first ranked algorithm that may be used; `rank` fills the list.
template <class Perf, class Rank>
Choice choose(const Conv2dProblem& p, const char* pass, const Rank& rank) {
  const std::string key = fmt::format("{} {}", pass, p.to_string());
  const std::scoped_lock lock(choices_mutex);
  if (const auto found = choices().find(key); found != choices().end()) return found->second;
  Perf ranked[16];
  int count = 0;
  vendor::check(rank(16, &count, ranked), "algorithm heuristics");
  for (int i = 0; i < count; ++i) {
    if (ranked[i].status != CUDNN_STATUS_SUCCESS || ranked[i].determinism != CUDNN_DETERMINISTIC ||
        ranked[i].memory > kWorkspaceLimit)
      continue;
    const Choice choice{static_cast<int>(ranked[i].algo), ranked[i].memory};
    choices()[key] = choice;
    return choice;
  }
  fail("[conv2d] cuDNN has no deterministic {} algorithm for {}", pass, p.to_string());
}

Tensor workspace(const Choice& choice, Device device) {
  return Tensor::empty({static_cast<std::int64_t>(choice.workspace)}, DType::u8, device);
}

// dy where y > 0, or dy itself.
Tensor masked(const Conv2dProblem& p, const Tensor& dy, const Tensor& y) {
  return p.relu ? vendor::relu_gradient(dy, y) : dy;
}

void forward(const Conv2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& residual, const Tensor& y) {
  if (y.numel() == 0) return;
  cudnnHandle_t handle = vendor::cudnn(x.device());
  const Descriptors d(p);
  const TensorDescriptor dx(x), dy(y);
  const Choice choice = choose<cudnnConvolutionFwdAlgoPerf_t>(p, "fwd", [&](auto... out) {
    return cudnnGetConvolutionForwardAlgorithm_v7(handle, dx, d.filter, d.convolution, dy, out...);
  });
  const Tensor space = workspace(choice, x.device());
  vendor::check(
      cudnnConvolutionForward(handle, &kOne, dx, x.raw(), d.filter, w.raw(), d.convolution,
                              static_cast<cudnnConvolutionFwdAlgo_t>(choice.algorithm), space.raw(),
                              choice.workspace, &kZero, dy, y.raw()),
      "convolution");
  if (bias.defined()) vendor::add_bias(y, bias);
  if (residual.defined()) add_(y, residual);
  if (p.relu) vendor::apply_relu(y);
}

void backward_data(const Conv2dProblem& p, const Tensor& dy, const Tensor& w, const Tensor& y,
                   const Tensor& dx) {
  if (dx.numel() == 0) return;
  cudnnHandle_t handle = vendor::cudnn(dy.device());
  const Descriptors d(p);
  const Tensor grad = masked(p, dy, y);
  const TensorDescriptor from(grad), to(dx);
  const Choice choice = choose<cudnnConvolutionBwdDataAlgoPerf_t>(p, "dgrad", [&](auto... out) {
    return cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, d.filter, from, d.convolution, to,
                                                       out...);
  });
  const Tensor space = workspace(choice, dy.device());
  vendor::check(cudnnConvolutionBackwardData(
                    handle, &kOne, d.filter, w.raw(), from, grad.raw(), d.convolution,
                    static_cast<cudnnConvolutionBwdDataAlgo_t>(choice.algorithm), space.raw(),
                    choice.workspace, &kZero, to, dx.raw()),
                "dgrad");
}

void backward_filter(const Conv2dProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dw, const Tensor& dbias) {
  if (dy.numel() == 0) {
    dw.fill(0);
    if (dbias.defined()) dbias.fill(0);
    return;
  }
  cudnnHandle_t handle = vendor::cudnn(dy.device());
  const Descriptors d(p);
  const Tensor grad = masked(p, dy, y);
  const TensorDescriptor in(x), from(grad);
  const Choice choice = choose<cudnnConvolutionBwdFilterAlgoPerf_t>(p, "wgrad", [&](auto... out) {
    return cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, in, from, d.convolution, d.filter,
                                                         out...);
  });
  const Tensor space = workspace(choice, dy.device());
  // The contract wants float32 gradients of the parameters; cuDNN gives the type of the
  // activations.
  const Tensor same_type =
      dw.dtype() == p.dtype ? dw : Tensor::empty(dw.shape(), p.dtype, dw.device());
  vendor::check(cudnnConvolutionBackwardFilter(
                    handle, &kOne, in, x.raw(), from, grad.raw(), d.convolution,
                    static_cast<cudnnConvolutionBwdFilterAlgo_t>(choice.algorithm), space.raw(),
                    choice.workspace, &kZero, d.filter, same_type.raw()),
                "wgrad");
  if (dw.dtype() != p.dtype) dw.copy_from(same_type);
  if (dbias.defined()) vendor::sum_bias_gradient(grad, dbias);
}

// Never the default: it is chosen by name.
int priority(const Conv2dProblem& p) {
  const bool narrow = p.dtype == DType::f16 || p.dtype == DType::bf16;
  return p.dtype == DType::f32 || narrow ? 0 : -1;
}

}  // namespace

std::string conv2d_cudnn_algorithms(const Conv2dProblem& p) {
  std::string text;
  const std::scoped_lock lock(choices_mutex);
  for (const char* pass : {"fwd", "dgrad", "wgrad"}) {
    const auto found = choices().find(fmt::format("{} {}", pass, p.to_string()));
    if (found == choices().end()) continue;
    text += fmt::format("{}{} algo {} (workspace {})", text.empty() ? "" : ", ", pass,
                        found->second.algorithm, found->second.workspace);
  }
  return text;
}

THORAX_PROVIDER(conv2d_cudnn, conv2d_providers(),
                {.name = "cudnn",
                 .device = DeviceKind::cuda,
                 .priority = priority,
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_filter = backward_filter});

}  // namespace thorax

#endif
