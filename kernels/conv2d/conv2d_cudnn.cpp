// The vendor's convolution, to compare with and to select: provider "cudnn".
//
// cuDNN's heuristics rank algorithms, each with the kind of arithmetic it is meant for. The first
// deterministic one within the workspace limit that runs is taken, once per problem and pass. f32
// problems use FMA arithmetic (no TF32), 16-bit ones tensor cores with float32 sums where there is
// such an algorithm. Where a 16-bit problem has none (channels that do not fill vectors of 8, as a
// first layer's 1 or HRNet's 18), the channels are filled up with zeros, and the time for that is
// part of the provider's.
#if defined(THORAX_WITH_CUDNN)

#include <cudnn.h>

#include <algorithm>

#include "engine/runtime/device.h"
#include "kernels/common/cudnn.h"
#include "kernels/common/ranked_algorithms.h"
#include "kernels/conv2d/conv2d.h"

namespace thorax {
namespace {

using vendor::ConvolutionDescriptor;
using vendor::FilterDescriptor;
using vendor::TensorDescriptor;
constexpr std::size_t kWorkspaceLimit = std::size_t{512} << 20;  // bytes
constexpr float kOne = 1, kZero = 0;

struct Algorithm {
  int number = 0;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
  std::size_t workspace = 0;
};

vendor::RankedAlgorithms<Algorithm>& algorithms() {
  static vendor::RankedAlgorithms<Algorithm> table;
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
    vendor::check(cudnnSetConvolution2dDescriptor(
                      convolution, static_cast<int>(p.pad_h), static_cast<int>(p.pad_w),
                      static_cast<int>(p.stride_h), static_cast<int>(p.stride_w),
                      static_cast<int>(p.dilation_h), static_cast<int>(p.dilation_w),
                      CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
                  "convolution");
    vendor::check(cudnnSetConvolutionGroupCount(convolution, static_cast<int>(p.groups)), "groups");
  }
  void set(cudnnMathType_t math) const {
    vendor::check(cudnnSetConvolutionMathType(convolution, math), "math type");
  }
};

// Runs a pass by the best algorithm that works. `rank` fills a list of Perf for the descriptors as
// they are, `run` is the pass. False when no algorithm works.
template <class Perf, class Rank, class Run>
bool pass(const Conv2dProblem& p, const char* name, const Descriptors& d, Device device,
          const Rank& rank, const Run& run) {
  const auto ranked = [&] {
    std::vector<Algorithm> list;
    const std::vector<cudnnMathType_t> kinds =
        p.dtype == DType::f32
            ? std::vector<cudnnMathType_t>{CUDNN_FMA_MATH}
            : std::vector<cudnnMathType_t>{CUDNN_TENSOR_OP_MATH, CUDNN_DEFAULT_MATH};
    for (const cudnnMathType_t kind : kinds) {
      d.set(kind);
      Perf found[16];
      int count = 0;
      if (rank(16, &count, found) != CUDNN_STATUS_SUCCESS) continue;
      for (int i = 0; i < count; ++i) {
        if (found[i].status != CUDNN_STATUS_SUCCESS ||
            found[i].determinism != CUDNN_DETERMINISTIC || found[i].memory > kWorkspaceLimit)
          continue;
        // float32 stays float32, whatever the heuristics would allow themselves.
        list.push_back({static_cast<int>(found[i].algo),
                        p.dtype == DType::f32 ? CUDNN_FMA_MATH : found[i].mathType,
                        found[i].memory});
      }
    }
    return list;
  };
  return algorithms().run(
      fmt::format("{} {}", name, p.to_string()), ranked, [&](const Algorithm& algorithm) {
        d.set(algorithm.math);
        const Tensor space =
            Tensor::empty({static_cast<std::int64_t>(algorithm.workspace)}, DType::u8, device);
        return run(algorithm, space.raw()) == CUDNN_STATUS_SUCCESS;
      });
}

bool try_forward(const Conv2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& y) {
  cudnnHandle_t handle = vendor::cudnn(x.device());
  const Descriptors d(p);
  const TensorDescriptor dx(x), dy(y);
  return pass<cudnnConvolutionFwdAlgoPerf_t>(
      p, "fwd", d, x.device(),
      [&](auto... out) {
        return cudnnGetConvolutionForwardAlgorithm_v7(handle, dx, d.filter, d.convolution, dy,
                                                      out...);
      },
      [&](const Algorithm& a, void* space) {
        return cudnnConvolutionForward(handle, &kOne, dx, x.raw(), d.filter, w.raw(), d.convolution,
                                       static_cast<cudnnConvolutionFwdAlgo_t>(a.number), space,
                                       a.workspace, &kZero, dy, y.raw());
      });
}

bool try_backward_data(const Conv2dProblem& p, const Tensor& dy, const Tensor& w,
                       const Tensor& dx) {
  cudnnHandle_t handle = vendor::cudnn(dy.device());
  const Descriptors d(p);
  const TensorDescriptor from(dy), to(dx);
  return pass<cudnnConvolutionBwdDataAlgoPerf_t>(
      p, "dgrad", d, dy.device(),
      [&](auto... out) {
        return cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, d.filter, from, d.convolution,
                                                           to, out...);
      },
      [&](const Algorithm& a, void* space) {
        return cudnnConvolutionBackwardData(handle, &kOne, d.filter, w.raw(), from, dy.raw(),
                                            d.convolution,
                                            static_cast<cudnnConvolutionBwdDataAlgo_t>(a.number),
                                            space, a.workspace, &kZero, to, dx.raw());
      });
}

// dw has the type of the activations.
bool try_backward_filter(const Conv2dProblem& p, const Tensor& x, const Tensor& dy,
                         const Tensor& dw) {
  cudnnHandle_t handle = vendor::cudnn(dy.device());
  const Descriptors d(p);
  const TensorDescriptor in(x), from(dy);
  return pass<cudnnConvolutionBwdFilterAlgoPerf_t>(
      p, "wgrad", d, dy.device(),
      [&](auto... out) {
        return cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, in, from, d.convolution,
                                                             d.filter, out...);
      },
      [&](const Algorithm& a, void* space) {
        return cudnnConvolutionBackwardFilter(
            handle, &kOne, in, x.raw(), from, dy.raw(), d.convolution,
            static_cast<cudnnConvolutionBwdFilterAlgo_t>(a.number), space, a.workspace, &kZero,
            d.filter, dw.raw());
      });
}

void check_ran(bool ran, const char* name, const Conv2dProblem& p) {
  THORAX_CHECK(ran, "[conv2d] none of cuDNN's deterministic {} algorithms runs {}", name,
               p.to_string());
}

// The problem with channels that fill vectors of 8, and its tensors.
std::int64_t filled(std::int64_t channels) {
  return (channels + 7) / 8 * 8;
}
Conv2dProblem filled(const Conv2dProblem& p, const char* name) {
  Conv2dProblem result = p;
  result.in_channels = filled(p.in_channels);
  result.out_channels = filled(p.out_channels);
  const bool wider = result.in_channels != p.in_channels || result.out_channels != p.out_channels;
  check_ran(p.dtype != DType::f32 && p.groups == 1 && wider, name, p);
  return result;
}
Tensor filled_map(const Tensor& t) {
  const std::int64_t channels = t.channels();
  const Tensor result =
      Tensor::zeros({t.size(0), t.size(1), t.size(2), filled(channels)}, t.dtype(), t.device());
  result.channel_slice(0, channels).copy_from(t);
  return result;
}
// The part of a filled filter that is the filter.
Tensor own_part(const Tensor& filter, const Conv2dProblem& p) {
  return filter.batch_slice(0, p.out_channels).channel_slice(0, p.in_channels);
}
Tensor filled_filter(const Conv2dProblem& p, const Conv2dProblem& wide, const Tensor& w) {
  const Tensor result = Tensor::zeros(wide.filter_shape(), w.dtype(), w.device());
  own_part(result, p).copy_from(w);
  return result;
}
// dy where y > 0, or dy itself.
Tensor masked(const Conv2dProblem& p, const Tensor& dy, const Tensor& y) {
  return p.relu ? vendor::relu_gradient(dy, y) : dy;
}

void forward(const Conv2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& residual, const Tensor& y) {
  if (y.numel() == 0) return;
  if (!try_forward(p, x, w, y)) {
    const Conv2dProblem wide = filled(p, "fwd");
    const Tensor result = Tensor::empty(wide.output_shape(), p.dtype, y.device());
    check_ran(try_forward(wide, filled_map(x), filled_filter(p, wide, w), result), "fwd", wide);
    y.copy_from(result.channel_slice(0, p.out_channels));
  }
  if (bias.defined()) vendor::add_bias(y, bias);
  if (residual.defined()) add_(y, residual);
  if (p.relu) vendor::apply_relu(y);
}

void backward_data(const Conv2dProblem& p, const Tensor& dy, const Tensor& w, const Tensor& y,
                   const Tensor& dx) {
  if (dx.numel() == 0) return;
  const Tensor grad = masked(p, dy, y);
  if (try_backward_data(p, grad, w, dx)) return;
  const Conv2dProblem wide = filled(p, "dgrad");
  const Tensor result = Tensor::empty(wide.input_shape(), p.dtype, dx.device());
  check_ran(try_backward_data(wide, filled_map(grad), filled_filter(p, wide, w), result), "dgrad",
            wide);
  dx.copy_from(result.channel_slice(0, p.in_channels));
}

void backward_filter(const Conv2dProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dw, const Tensor& dbias) {
  if (dy.numel() == 0) {
    dw.fill(0);
    if (dbias.defined()) dbias.fill(0);
    return;
  }
  const Tensor grad = masked(p, dy, y);
  // The contract wants float32 gradients of the parameters; cuDNN gives the type of the
  // activations.
  const Tensor same_type =
      dw.dtype() == p.dtype ? dw : Tensor::empty(dw.shape(), p.dtype, dw.device());
  if (try_backward_filter(p, x, grad, same_type)) {
    if (dw.dtype() != p.dtype) dw.copy_from(same_type);
  } else {
    const Conv2dProblem wide = filled(p, "wgrad");
    const Tensor result = Tensor::empty(wide.filter_shape(), p.dtype, dw.device());
    check_ran(try_backward_filter(wide, filled_map(x), filled_map(grad), result), "wgrad", wide);
    dw.copy_from(own_part(result, p));
  }
  if (dbias.defined()) vendor::sum_bias_gradient(grad, dbias);
}

// Never the default: it is chosen by name.
int priority(const Conv2dProblem& p) {
  if (!vendor::cudnn_here()) return -1;
  const bool narrow = p.dtype == DType::f16 || p.dtype == DType::bf16;
  return p.dtype == DType::f32 || narrow ? 0 : -1;
}

}  // namespace

THORAX_PROVIDER(conv2d_cudnn, conv2d_providers(),
                {.name = "cudnn",
                 .device = DeviceKind::cuda,
                 .priority = priority,
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_filter = backward_filter});

}  // namespace thorax

#endif
