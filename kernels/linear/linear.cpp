#include "kernels/linear/linear.h"

#include "kernels/common/precision.h"

namespace thorax {

Registry<LinearProvider>& linear_providers() {
  static Registry<LinearProvider> registry("linear");
  return registry;
}

std::string LinearProblem::to_string() const {
  std::string text = fmt::format("{} * {}", input_shape(), weight_shape());
  if (bias) text += " +bias";
  if (relu) text += " +relu";
  if (dtype != DType::f32) text += fmt::format(" {}", name_of(dtype));
  return text;
}

LinearProblem linear_problem(const Tensor& x, const Tensor& weight, const Tensor& bias, bool relu) {
  THORAX_CHECK(x.defined() && x.rank() == 2, "[linear] input must be N x in, got {}",
               x.defined() ? x.shape().to_string() : "nothing");
  THORAX_CHECK(weight.defined() && weight.rank() == 2, "[linear] weight must be out x in, got {}",
               weight.defined() ? weight.shape().to_string() : "nothing");
  THORAX_CHECK(x.size(1) == weight.size(1), "[linear] input {}: weight {} wants {} features",
               x.shape(), weight.shape(), weight.size(1));
  THORAX_CHECK(filter_fits(weight.dtype(), x.dtype()), "[linear] input is {}, weight {}",
               name_of(x.dtype()), name_of(weight.dtype()));
  THORAX_CHECK(weight.contiguous(), "[linear] weight {} is a slice (row stride {})", weight.shape(),
               weight.pixel_stride());
  THORAX_CHECK(!bias.defined() || (bias.rank() == 1 && bias.size(0) == weight.size(0) &&
                                   bias.dtype() == parameter_dtype(x.dtype())),
               "[linear] bias {} {} for weight {} {}", bias.shape(), name_of(bias.dtype()),
               weight.shape(), name_of(weight.dtype()));
  return {.rows = x.size(0),
          .in_features = x.size(1),
          .out_features = weight.size(0),
          .bias = bias.defined(),
          .relu = relu,
          .dtype = x.dtype()};
}

}  // namespace thorax
