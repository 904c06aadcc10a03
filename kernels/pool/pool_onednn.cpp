// The vendor's average pooling on the CPU: provider "onednn", to compare with. Its maximum is not
// used: which of equal values wins and what becomes of a NaN are not ours to choose there, and the
// position comes in a layout of its own.
#include "kernels/common/onednn.h"
#include "kernels/pool/pool.h"

namespace thorax {
namespace {

using dnnl::memory;

struct Geometry {
  dnnl::algorithm algorithm;
  memory::dims strides, kernel, dilation, pad, pad_end;
  explicit Geometry(const PoolProblem& p)
      : algorithm(p.count_include_pad ? dnnl::algorithm::pooling_avg_include_padding
                                      : dnnl::algorithm::pooling_avg_exclude_padding),
        strides{p.stride_h, p.stride_w},
        kernel{p.kernel_h, p.kernel_w},
        dilation{0, 0},
        pad{p.pad_h, p.pad_w},
        pad_end{end(p.height, p.out_height(), p.kernel_h, p.stride_h, p.pad_h),
                end(p.width, p.out_width(), p.kernel_w, p.stride_w, p.pad_w)} {}
  // Rows that the last window reaches beyond the image; negative where none reaches the last ones.
  static std::int64_t end(std::int64_t size, std::int64_t out, std::int64_t kernel,
                          std::int64_t stride, std::int64_t pad) {
    return (out - 1) * stride + kernel - size - pad;
  }
};

dnnl::pooling_v2_forward::primitive_desc forward_desc(const PoolProblem& p, const memory::desc& x,
                                                      const memory::desc& y) {
  const Geometry g(p);
  return {{dnnl::prop_kind::forward_training, g.algorithm, x, y, g.strides, g.kernel, g.dilation,
           g.pad, g.pad_end},
          onednn::engine()};
}

std::string key(const PoolProblem& p, const Tensor& x, const Tensor& y) {
  return fmt::format("{} {} {} {} {}", p.to_string(), p.pad_h, p.pad_w, x.pixel_stride(),
                     y.pixel_stride());
}

void forward(const PoolProblem& p, const Tensor& x, const Tensor& y, const Tensor&) {
  if (y.numel() == 0) return;
  const memory::desc from = onednn::activation_desc(x), to = onednn::activation_desc(y);
  static onednn::PrimitiveCache<dnnl::pooling_v2_forward> cache;
  const auto primitive =
      cache.get(key(p, x, y), [&] { return dnnl::pooling_v2_forward(forward_desc(p, from, to)); });
  primitive.execute(onednn::stream(),
                    {{DNNL_ARG_SRC, onednn::wrap(from, x)}, {DNNL_ARG_DST, onednn::wrap(to, y)}});
  onednn::stream().wait();
}

void backward(const PoolProblem& p, const Tensor& dy, const Tensor&, const Tensor& dx) {
  if (dx.numel() == 0) return;
  if (dy.numel() == 0) {
    dx.fill(0);
    return;
  }
  const memory::desc from = onednn::activation_desc(dy), to = onednn::activation_desc(dx);
  static onednn::PrimitiveCache<dnnl::pooling_v2_backward> cache;
  const auto primitive = cache.get(key(p, dx, dy), [&] {
    const Geometry g(p);
    return dnnl::pooling_v2_backward(
        {{g.algorithm, to, from, g.strides, g.kernel, g.dilation, g.pad, g.pad_end},
         onednn::engine(),
         forward_desc(p, to, from)});
  });
  primitive.execute(onednn::stream(), {{DNNL_ARG_DIFF_DST, onednn::wrap(from, dy)},
                                       {DNNL_ARG_DIFF_SRC, onednn::wrap(to, dx)}});
  onednn::stream().wait();
}

int priority(const PoolProblem& p) {
  if (p.dtype != DType::f32 || p.kind != PoolKind::avg) return -1;
  // Its divisor counts a whole window, ours only what lies in the padded image.
  const Geometry g(p);
  if (p.count_include_pad && (g.pad_end[0] > p.pad_h || g.pad_end[1] > p.pad_w)) return -1;
  return 5;
}

}  // namespace

THORAX_PROVIDER(pool_onednn, pool_providers(),
                {.name = "onednn",
                 .device = DeviceKind::cpu,
                 .priority = priority,
                 .forward = forward,
                 .backward = backward});

}  // namespace thorax
