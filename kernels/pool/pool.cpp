#include "kernels/pool/pool.h"

namespace thorax {

Registry<PoolProvider>& pool_providers() {
  static Registry<PoolProvider> registry("pool");
  return registry;
}

std::int64_t PoolProblem::out_size(std::int64_t size, std::int64_t kernel, std::int64_t stride,
                                   std::int64_t pad) const {
  std::int64_t count = (size + 2 * pad - kernel + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  // A window that would start in the padding behind the image is dropped.
  if (ceil_mode && (count - 1) * stride >= size + pad) --count;
  return count;
}

PoolWindow::PoolWindow(std::int64_t position, std::int64_t size, std::int64_t kernel,
                       std::int64_t stride, std::int64_t pad) {
  const std::int64_t first = position * stride - pad;
  padded = std::min(first + kernel, size + pad) - first;
  begin = std::max<std::int64_t>(first, 0);
  end = std::min(first + kernel, size);
}

std::string PoolProblem::to_string() const {
  const auto pair = [](const char* name, std::int64_t h, std::int64_t w) {
    return h == w ? fmt::format(" {} {}", name, h) : fmt::format(" {} {}x{}", name, h, w);
  };
  std::string text = fmt::format("{} {}", kind == PoolKind::max ? "max" : "avg", input_shape());
  text += pair("kernel", kernel_h, kernel_w) + pair("stride", stride_h, stride_w);
  if (pad_h != 0 || pad_w != 0) text += pair("pad", pad_h, pad_w);
  if (ceil_mode) text += " ceil";
  if (kind == PoolKind::avg && !count_include_pad) text += " exclude_pad";
  if (dtype != DType::f32) text += fmt::format(" {}", name_of(dtype));
  return text;
}

void PoolProblem::check() const {
  THORAX_CHECK(
      kernel_h >= 1 && kernel_w >= 1 && stride_h >= 1 && stride_w >= 1 && pad_h >= 0 && pad_w >= 0,
      "[pool] kernel and stride must be positive, padding not negative: {}", to_string());
  // Divided, not multiplied: the numbers come from the caller and could overflow.
  THORAX_CHECK(pad_h <= kernel_h / 2 && pad_w <= kernel_w / 2,
               "[pool] padding above half of the kernel leaves windows without a pixel: {}",
               to_string());
  THORAX_CHECK(kernel_h - 2 * pad_h <= height && kernel_w - 2 * pad_w <= width,
               "[pool] kernel is larger than the padded input: {}", to_string());
  THORAX_CHECK(kind != PoolKind::max || (kernel_h <= 256 && kernel_w <= 256 / kernel_h),
               "[pool] a max window holds at most 256 pixels: {}", to_string());
}

PoolProblem pool_problem(PoolKind kind, const Tensor& x, const PoolOptions& o) {
  THORAX_CHECK(x.defined() && x.rank() == 4, "[pool] input must be N x H x W x C, got {}",
               x.defined() ? x.shape().to_string() : "nothing");
  PoolProblem p;
  p.kind = kind;
  p.batch = x.size(0);
  p.height = x.size(1);
  p.width = x.size(2);
  p.channels = x.size(3);
  p.kernel_h = p.kernel_w = o.kernel;
  p.stride_h = p.stride_w = o.stride == 0 ? o.kernel : o.stride;
  p.pad_h = p.pad_w = o.padding;
  p.ceil_mode = o.ceil_mode;
  p.count_include_pad = o.count_include_pad;
  p.dtype = x.dtype();
  p.check();
  THORAX_CHECK(!o.out.defined() || (o.out.shape() == p.output_shape() && o.out.dtype() == p.dtype),
               "[pool] destination {} {} given for output {} {}", o.out.shape(),
               name_of(o.out.dtype()), p.output_shape(), name_of(p.dtype));
  return p;
}

}  // namespace thorax
