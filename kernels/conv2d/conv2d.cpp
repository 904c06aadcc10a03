#include "kernels/conv2d/conv2d.h"

#include "kernels/common/precision.h"

namespace thorax {

Registry<Conv2dProvider>& conv2d_providers() {
  static Registry<Conv2dProvider> registry("conv2d");
  return registry;
}

std::string Conv2dProblem::to_string() const {
  std::string text = fmt::format("{} * {}", input_shape(), filter_shape());
  text += stride_h == stride_w ? fmt::format(" stride {}", stride_h)
                               : fmt::format(" stride {}x{}", stride_h, stride_w);
  text += pad_h == pad_w ? fmt::format(" pad {}", pad_h) : fmt::format(" pad {}x{}", pad_h, pad_w);
  if (dilation_h != 1 || dilation_w != 1)
    text += fmt::format(" dilation {}x{}", dilation_h, dilation_w);
  if (groups != 1) text += fmt::format(" groups {}", groups);
  if (bias) text += " +bias";
  if (residual) text += " +residual";
  if (relu) text += " +relu";
  if (dtype != DType::f32) text += fmt::format(" {}", name_of(dtype));
  return text;
}

void Conv2dProblem::check() const {
  THORAX_CHECK(kernel_h >= 1 && kernel_w >= 1 && stride_h >= 1 && stride_w >= 1 &&
                   dilation_h >= 1 && dilation_w >= 1 && pad_h >= 0 && pad_w >= 0 && groups >= 1,
               "[conv2d] kernel, stride, dilation and groups must be positive, padding not "
               "negative: {}",
               to_string());
  THORAX_CHECK(in_channels % groups == 0 && out_channels % groups == 0,
               "[conv2d] {} groups do not divide {} input and {} output channels", groups,
               in_channels, out_channels);
  THORAX_CHECK(height + 2 * pad_h >= dilation_h * (kernel_h - 1) + 1 &&
                   width + 2 * pad_w >= dilation_w * (kernel_w - 1) + 1,
               "[conv2d] filter is larger than the padded input: {}", to_string());
}

Conv2dProblem conv2d_problem(const Tensor& x, const Tensor& w, const Tensor& bias,
                             const Conv2dOptions& o) {
  THORAX_CHECK(x.defined() && x.rank() == 4, "[conv2d] input must be N x H x W x C, got {}",
               x.defined() ? x.shape().to_string() : "nothing");
  THORAX_CHECK(w.defined() && w.rank() == 4, "[conv2d] filter must be K x R x S x C, got {}",
               w.defined() ? w.shape().to_string() : "nothing");
  THORAX_CHECK(o.groups >= 1 && x.size(3) == w.size(3) * o.groups,
               "[conv2d] input {}: filter {} in {} group(s) wants {} channels", x.shape(),
               w.shape(), o.groups, w.size(3) * o.groups);
  THORAX_CHECK(filter_fits(w.dtype(), x.dtype()), "[conv2d] input is {}, filter {}",
               name_of(x.dtype()), name_of(w.dtype()));
  THORAX_CHECK(!bias.defined() || (bias.rank() == 1 && bias.size(0) == w.size(0) &&
                                   bias.dtype() == parameter_dtype(x.dtype())),
               "[conv2d] bias {} {} for filter {} and input {}", bias.shape(),
               name_of(bias.dtype()), w.shape(), name_of(x.dtype()));
  Conv2dProblem p;
  p.batch = x.size(0);
  p.height = x.size(1);
  p.width = x.size(2);
  p.in_channels = x.size(3);
  p.out_channels = w.size(0);
  p.kernel_h = w.size(1);
  p.kernel_w = w.size(2);
  p.stride_h = p.stride_w = o.stride;
  p.pad_h = p.pad_w = o.padding;
  p.dilation_h = p.dilation_w = o.dilation;
  p.groups = o.groups;
  p.bias = bias.defined();
  p.residual = o.residual.defined();
  p.relu = o.relu;
  p.dtype = x.dtype();
  p.check();
  for (const Tensor* given : {&o.out, &o.residual}) {
    THORAX_CHECK(
        !given->defined() || (given->shape() == p.output_shape() && given->dtype() == p.dtype),
        "[conv2d] {} {} given for output {}", given == &o.out ? "destination" : "residual",
        given->shape(), p.output_shape());
  }
  return p;
}

}  // namespace thorax
