// swish on the tape, as an operation of `thorax op`, and the plugin itself.
#include "swish.h"

#include "engine/registry/plugin.h"

using namespace thorax;

Registry<SwishProvider>& swish_providers() {
  static Registry<SwishProvider> registry("swish");
  return registry;
}

Variable swish(const Variable& x) {
  THORAX_CHECK(x.defined(), "[swish] no input");
  const SwishProblem problem{x.shape(), x.value().dtype()};
  const Tensor in = x.value().to_contiguous();
  const Tensor y = Tensor::empty(problem.shape, problem.dtype, in.device());
  const SwishProvider& provider = swish_providers().select(problem, in.device().kind);
  provider.forward(problem, in, y);
  return record("swish", y, {x},
                [problem, in, &provider](const Tensor& dy, const std::vector<bool>&) {
                  const Tensor dx = Tensor::empty(problem.shape, problem.dtype, dy.device());
                  provider.backward(problem, dy.to_contiguous(), in, dx);
                  return std::vector<Tensor>{dx};
                });
}

THORAX_PLUGIN("swish") {
  // Its name, the table that --provider chooses from, and where it takes its arguments from.
  add_op({"swish", "swish", [](OpCase& c) { c.result(swish(c.argument("input"))); }});
}
