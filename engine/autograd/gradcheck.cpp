#include "engine/autograd/gradcheck.h"

#include <cmath>

#include "engine/runtime/philox.h"

namespace thorax {

GradcheckResult gradcheck(const std::function<Variable(const std::vector<Variable>&)>& function,
                          const std::vector<Tensor>& inputs, GradcheckOptions options) {
  std::vector<Variable> leaves;
  for (const Tensor& input : inputs) {
    THORAX_CHECK(input.dtype() == DType::f64, "[gradcheck] inputs must be f64, got {}",
                 name_of(input.dtype()));
    leaves.emplace_back(input.clone(), true);
  }
  const Variable output = function(leaves);
  Tensor weights = Tensor::empty(output.shape(), DType::f64);
  Philox random(7);
  for (std::int64_t i = 0; i < weights.numel(); ++i) weights.data<double>()[i] = random.normal();
  backward(output, weights);

  const auto weighted = [&] {
    const NoGrad no_grad;
    const Tensor y = function(leaves).value().to_contiguous();
    double sum = 0;
    for (std::int64_t i = 0; i < y.numel(); ++i)
      sum += y.data<double>()[i] * weights.data<double>()[i];
    return sum;
  };
  GradcheckResult result{true, 0, {}};
  for (std::size_t k = 0; k < leaves.size(); ++k) {
    double* x = leaves[k].value().data<double>();
    for (std::int64_t i = 0; i < leaves[k].value().numel(); ++i) {
      const double saved = x[i];
      const double h = options.step * std::max(1.0, std::abs(saved));
      x[i] = saved + h;
      const double above = weighted();
      x[i] = saved - h;
      const double below = weighted();
      x[i] = saved;
      const double numeric = (above - below) / (2 * h);
      const double analytic = leaves[k].grad().defined() ? leaves[k].grad().data<double>()[i] : 0.0;
      const double error =
          std::abs(analytic - numeric) / (options.atol + options.rtol * std::abs(numeric));
      if (!(error <= result.worst)) {
        result.worst = error;
        result.message = fmt::format("input {} element {} of {}: backward {}, differences {}", k, i,
                                     leaves[k].shape(), analytic, numeric);
      }
    }
  }
  // The weighted sum carries rounding of about |sum| * 1e-16 / step; rtol and atol leave room for
  // it.
  result.ok = result.worst <= 1.0;
  return result;
}

}  // namespace thorax
