#include "kernels/conv_transpose2d/conv_transpose2d.h"

#include "kernels/common/precision.h"

namespace thorax {

Registry<ConvTranspose2dProvider>& conv_transpose2d_providers() {
  static Registry<ConvTranspose2dProvider> registry("conv_transpose2d");
  return registry;
}

std::string ConvTranspose2dProblem::to_string() const {
  std::string text = fmt::format("{} * {}", input_shape(), filter_shape());
  const auto add = [&](const char* what, std::int64_t h, std::int64_t w, std::int64_t usual) {
    if (h == usual && w == usual) return;
    text += h == w ? fmt::format(" {} {}", what, h) : fmt::format(" {} {}x{}", what, h, w);
  };
  add("stride", stride_h, stride_w, 0);
  add("pad", pad_h, pad_w, 0);
  add("output padding", extra_h, extra_w, 0);
  add("dilation", dilation_h, dilation_w, 1);
  if (groups != 1) text += fmt::format(" groups {}", groups);
  if (bias) text += " +bias";
  if (dtype != DType::f32) text += fmt::format(" {}", name_of(dtype));
  return text;
}

void ConvTranspose2dProblem::check() const {
  THORAX_CHECK(kernel_h >= 1 && kernel_w >= 1 && stride_h >= 1 && stride_w >= 1 &&
                   dilation_h >= 1 && dilation_w >= 1 && pad_h >= 0 && pad_w >= 0 && groups >= 1,
               "[conv_transpose2d] kernel, stride, dilation and groups must be positive, padding "
               "not negative: {}",
               to_string());
  THORAX_CHECK(extra_h >= 0 && extra_w >= 0 && extra_h < std::max(stride_h, dilation_h) &&
                   extra_w < std::max(stride_w, dilation_w),
               "[conv_transpose2d] output padding must be less than stride or dilation: {}",
               to_string());
  THORAX_CHECK(in_channels % groups == 0 && out_channels % groups == 0,
               "[conv_transpose2d] {} groups do not divide {} input and {} output channels", groups,
               in_channels, out_channels);
  THORAX_CHECK(height >= 1 && width >= 1 && out_height() >= 1 && out_width() >= 1,
               "[conv_transpose2d] no output is left: {}", to_string());
}

ConvTranspose2dProblem conv_transpose2d_problem(const Tensor& x, const Tensor& w,
                                                const Tensor& bias,
                                                const ConvTranspose2dOptions& o) {
  THORAX_CHECK(x.defined() && x.rank() == 4,
               "[conv_transpose2d] input must be N x H x W x C, got {}",
               x.defined() ? x.shape().to_string() : "nothing");
  THORAX_CHECK(w.defined() && w.rank() == 4,
               "[conv_transpose2d] filter must be C x R x S x K, got {}",
               w.defined() ? w.shape().to_string() : "nothing");
  THORAX_CHECK(x.size(3) == w.size(0), "[conv_transpose2d] input {}: filter {} wants {} channels",
               x.shape(), w.shape(), w.size(0));
  THORAX_CHECK(filter_fits(w.dtype(), x.dtype()), "[conv_transpose2d] input is {}, filter {}",
               name_of(x.dtype()), name_of(w.dtype()));
  ConvTranspose2dProblem p;
  p.batch = x.size(0);
  p.height = x.size(1);
  p.width = x.size(2);
  p.in_channels = x.size(3);
  p.kernel_h = w.size(1);
  p.kernel_w = w.size(2);
  p.out_channels = w.size(3) * o.groups;
  p.stride_h = p.stride_w = o.stride;
  p.pad_h = p.pad_w = o.padding;
  p.extra_h = p.extra_w = o.output_padding;
  p.dilation_h = p.dilation_w = o.dilation;
  p.groups = o.groups;
  p.bias = bias.defined();
  p.dtype = x.dtype();
  p.check();
  THORAX_CHECK(!bias.defined() || (bias.rank() == 1 && bias.size(0) == p.out_channels &&
                                   bias.dtype() == parameter_dtype(x.dtype())),
               "[conv_transpose2d] bias {} for filter {} in {} group(s)",
               bias.defined() ? bias.shape() : Shape{}, w.shape(), o.groups);
  THORAX_CHECK(!o.out.defined() || (o.out.shape() == p.output_shape() && o.out.dtype() == p.dtype),
               "[conv_transpose2d] destination {} given for output {}",
               o.out.defined() ? o.out.shape() : Shape{}, p.output_shape());
  return p;
}

}  // namespace thorax
