// The vendor's direct convolutions (oneDNN 2.6) on our layout: NHWC with pixel strides as it lies,
// filters reordered to what the primitive asks for, primitives kept per problem.
//
// Its filter gradient splits the reduction by the number of threads, so its last bits may change
// with that number; the other providers' do not.
#include "engine/runtime/parallel.h"
#include "kernels/common/lanes.h"
#include "kernels/common/onednn.h"
#include "kernels/conv2d/conv2d.h"

namespace thorax {
namespace {

using dnnl::memory;

struct Geometry {
  memory::dims strides, dilates, pad, pad_end, filter_dims, filter_strides;
  explicit Geometry(const Conv2dProblem& p)
      : strides{p.stride_h, p.stride_w},
        dilates{p.dilation_h - 1, p.dilation_w - 1},
        pad{p.pad_h, p.pad_w} {
    // oneDNN wants the exact padding at the end: rows that no filter position reaches are negative.
    pad_end = {
        (p.out_height() - 1) * p.stride_h + p.dilation_h * (p.kernel_h - 1) + 1 - p.height -
            p.pad_h,
        (p.out_width() - 1) * p.stride_w + p.dilation_w * (p.kernel_w - 1) + 1 - p.width - p.pad_w};
    const std::int64_t k = p.out_channels / p.groups, c = p.in_channels / p.groups;
    const std::int64_t r = p.kernel_h, s = p.kernel_w;
    filter_dims = {k, c, r, s};
    filter_strides = {r * s * c, 1, s * c, c};
    if (p.groups > 1) {
      filter_dims.insert(filter_dims.begin(), p.groups);
      filter_strides.insert(filter_strides.begin(), k * r * s * c);
    }
  }
  memory::desc filter() const { return {filter_dims, memory::data_type::f32, filter_strides}; }
  memory::desc any_filter() const {
    return {filter_dims, memory::data_type::f32, memory::format_tag::any};
  }
};

constexpr auto kDirect = dnnl::algorithm::convolution_direct;

memory::desc bias_desc(const Conv2dProblem& p) {
  return {{p.out_channels}, memory::data_type::f32, memory::format_tag::x};
}

dnnl::convolution_forward::primitive_desc forward_desc(const Conv2dProblem& p,
                                                       const memory::desc& x,
                                                       const memory::desc& y) {
  const Geometry g(p);
  dnnl::post_ops ops;
  if (p.residual) ops.append_sum(1.0f);
  dnnl::primitive_attr attr;
  attr.set_post_ops(ops);
  const auto kind = dnnl::prop_kind::forward_training;
  if (p.bias)
    return {
        {kind, kDirect, x, g.any_filter(), bias_desc(p), y, g.strides, g.dilates, g.pad, g.pad_end},
        attr,
        onednn::engine()};
  return {{kind, kDirect, x, g.any_filter(), y, g.strides, g.dilates, g.pad, g.pad_end},
          attr,
          onednn::engine()};
}

// The backward primitives ask for the forward one of the same shapes, without its epilogue.
dnnl::convolution_forward::primitive_desc hint(const Conv2dProblem& p, const memory::desc& x,
                                               const memory::desc& y) {
  Conv2dProblem plain = p;
  plain.residual = plain.bias = false;
  return forward_desc(plain, x, y);
}

std::string key(const Conv2dProblem& p, std::int64_t x_pixel, std::int64_t y_pixel) {
  return fmt::format("{} {} {}", p.to_string(), x_pixel, y_pixel);
}

template <class Primitive>
struct Entry {
  typename Primitive::primitive_desc desc;
  Primitive primitive;
};

template <class Primitive, class Make>
Entry<Primitive> cached(const std::string& text, const Make& make) {
  static onednn::PrimitiveCache<Entry<Primitive>> cache;
  return cache.get(text, [&] {
    const typename Primitive::primitive_desc desc = make();
    return Entry<Primitive>{desc, Primitive(desc)};
  });
}

// dy where the forward output is positive; dy itself without ReLU.
Tensor gated(const Conv2dProblem& p, const Tensor& dy, const Tensor& y) {
  if (!p.relu) return dy;
  const Tensor result = Tensor::empty(dy.shape());
  const std::int64_t channels = dy.channels();
  parallel_for(0, dy.pixels(), 1024, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const float* from = dy.data<float>() + i * dy.pixel_stride();
      const float* gate = y.data<float>() + i * y.pixel_stride();
      float* to = result.data<float>() + i * channels;
      for (std::int64_t k = 0; k < channels; ++k) to[k] = lanes::relu_gradient(gate[k], from[k]);
    }
  });
  return result;
}

// A pass of its own: the library's fused ReLU makes zeros of NaNs.
void apply_relu(const Tensor& y) {
  const std::int64_t channels = y.channels();
  parallel_for(0, y.pixels(), 1024, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      float* to = y.data<float>() + i * y.pixel_stride();
      for (std::int64_t k = 0; k < channels; ++k) to[k] = lanes::relu(to[k]);
    }
  });
}

void forward(const Conv2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& residual, const Tensor& y) {
  if (y.numel() == 0) return;
  const memory::desc x_desc = onednn::activation_desc(x), y_desc = onednn::activation_desc(y);
  const auto entry = cached<dnnl::convolution_forward>(
      key(p, x.pixel_stride(), y.pixel_stride()), [&] { return forward_desc(p, x_desc, y_desc); });
  if (residual.defined()) y.copy_from(residual);
  std::unordered_map<int, memory> args{
      {DNNL_ARG_SRC, onednn::wrap(x_desc, x)},
      {DNNL_ARG_WEIGHTS,
       onednn::reordered(onednn::wrap(Geometry(p).filter(), w), entry.desc.weights_desc())},
      {DNNL_ARG_DST, onednn::wrap(y_desc, y)}};
  if (p.bias) args.emplace(DNNL_ARG_BIAS, onednn::wrap(bias_desc(p), bias));
  entry.primitive.execute(onednn::stream(), args);
  onednn::stream().wait();
  if (p.relu) apply_relu(y);
}

void backward_data(const Conv2dProblem& p, const Tensor& dy, const Tensor& w, const Tensor& y,
                   const Tensor& dx) {
  if (dx.numel() == 0) return;
  const Tensor grad = gated(p, dy, y);
  const memory::desc x_desc = onednn::activation_desc(dx), y_desc = onednn::activation_desc(grad);
  const auto entry =
      cached<dnnl::convolution_backward_data>(key(p, dx.pixel_stride(), grad.pixel_stride()), [&] {
        const Geometry g(p);
        return dnnl::convolution_backward_data::primitive_desc(
            {kDirect, x_desc, g.any_filter(), y_desc, g.strides, g.dilates, g.pad, g.pad_end},
            onednn::engine(), hint(p, x_desc, y_desc));
      });
  entry.primitive.execute(
      onednn::stream(), {{DNNL_ARG_DIFF_DST, onednn::wrap(y_desc, grad)},
                         {DNNL_ARG_WEIGHTS, onednn::reordered(onednn::wrap(Geometry(p).filter(), w),
                                                              entry.desc.weights_desc())},
                         {DNNL_ARG_DIFF_SRC, onednn::wrap(x_desc, dx)}});
  onednn::stream().wait();
}

void backward_filter(const Conv2dProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dw, const Tensor& dbias) {
  if (dy.numel() == 0) {
    dw.fill(0);
    if (dbias.defined()) dbias.fill(0);
    return;
  }
  const Tensor grad = gated(p, dy, y);
  const memory::desc x_desc = onednn::activation_desc(x), y_desc = onednn::activation_desc(grad);
  const bool with_bias = dbias.defined();
  const auto entry = cached<dnnl::convolution_backward_weights>(
      fmt::format("{}{}", key(p, x.pixel_stride(), grad.pixel_stride()), with_bias ? " dbias" : ""),
      [&] {
        const Geometry g(p);
        const auto fwd = hint(p, x_desc, y_desc);
        using Gradient = dnnl::convolution_backward_weights;
        if (with_bias)
          return Gradient::primitive_desc({kDirect, x_desc, g.any_filter(), bias_desc(p), y_desc,
                                           g.strides, g.dilates, g.pad, g.pad_end},
                                          onednn::engine(), fwd);
        return Gradient::primitive_desc(
            {kDirect, x_desc, g.any_filter(), y_desc, g.strides, g.dilates, g.pad, g.pad_end},
            onednn::engine(), fwd);
      });
  const memory::desc ours = Geometry(p).filter(), theirs = entry.desc.diff_weights_desc();
  memory target = onednn::wrap(ours, dw);
  memory result = ours == theirs ? target : memory(theirs, onednn::engine());
  std::unordered_map<int, memory> args{{DNNL_ARG_SRC, onednn::wrap(x_desc, x)},
                                       {DNNL_ARG_DIFF_DST, onednn::wrap(y_desc, grad)},
                                       {DNNL_ARG_DIFF_WEIGHTS, result}};
  if (with_bias) args.emplace(DNNL_ARG_DIFF_BIAS, onednn::wrap(bias_desc(p), dbias));
  entry.primitive.execute(onednn::stream(), args);
  if (!(ours == theirs)) dnnl::reorder(result, target).execute(onednn::stream(), result, target);
  onednn::stream().wait();
}

// Never the default: gemm and winograd are faster on every layer of the models (bench/conv2d_bench)
// and give the same bits for any number of threads.
int priority(const Conv2dProblem& p) {
  if (p.dtype != DType::f32) return -1;
  // oneDNN 2.6's filter gradient of a 1x1 convolution is wrong when the stride leaves pixels over
  // at the end and the channels do not fill its vectors of 8.
  const Geometry g(p);
  const bool left_over = g.pad_end[0] < 0 || g.pad_end[1] < 0;
  const bool partial = p.in_channels / p.groups % 8 != 0;
  return p.kernel_h == 1 && p.kernel_w == 1 && left_over && partial ? -1 : 10;
}

}  // namespace

THORAX_PROVIDER(conv2d_onednn, conv2d_providers(),
                {.name = "onednn",
                 .device = DeviceKind::cpu,
                 .priority = priority,
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_filter = backward_filter});

}  // namespace thorax
