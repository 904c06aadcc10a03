// Plugins as tests/apps/plugin_test.cpp wants them: one that works and some that must be refused,
// by which of these names is defined.
#include "engine/registry/plugin.h"
#include "kernels/activation/activation.h"

#if defined(THORAX_PLUGIN_OTHER_BUILD)
#undef THORAX_HEADERS
#define THORAX_HEADERS "0.0.1 (headers 0123456789abcdef)"
#endif

#if defined(THORAX_PLUGIN_NONE)

extern "C" int thorax_no_plugin() {
  return 1;
}

#elif defined(THORAX_PLUGIN_EMPTY)

THORAX_PLUGIN("empty") {}

#else

namespace {

using namespace thorax;

// relu, one element at a time.
void forward(const ActivationProblem& problem, const Tensor& x, const Tensor& y) {
  const float* from = x.data<float>();
  float* to = y.data<float>();
  for (std::int64_t i = 0; i < problem.shape.numel(); ++i) to[i] = from[i] <= 0 ? 0 : from[i];
}
void backward(const ActivationProblem& problem, const Tensor& dy, const Tensor& y,
              const Tensor& dx) {
  for (std::int64_t i = 0; i < problem.shape.numel(); ++i)
    dx.data<float>()[i] = y.data<float>()[i] <= 0 ? 0 : dy.data<float>()[i];
}

// x^3 of each element.
void run_cube(OpCase& c) {
  const Variable x = c.argument("input");
  const Tensor in = x.value().to_contiguous(), y = Tensor::empty(x.shape());
  for (std::int64_t i = 0; i < y.numel(); ++i)
    y.data<float>()[i] = in.data<float>()[i] * in.data<float>()[i] * in.data<float>()[i];
  c.result(record("cube", y, {x}, [in](const Tensor& dy, const std::vector<bool>&) {
    const Tensor dx = dy.to_contiguous().clone();
    for (std::int64_t i = 0; i < dx.numel(); ++i)
      dx.data<float>()[i] *= 3 * in.data<float>()[i] * in.data<float>()[i];
    return std::vector<Tensor>{dx};
  }));
}

}  // namespace

#if defined(THORAX_PLUGIN_TAKEN)
#define PROVIDER "cpu"
#else
#define PROVIDER "plain"
#endif
THORAX_PROVIDER(plain_relu, activation_providers(),
                {.name = PROVIDER,
                 .device = DeviceKind::cpu,
                 .priority =
                     [](const ActivationProblem& p) {
                       return p.kind == ActivationKind::relu && p.dtype == DType::f32 ? 1 : -1;
                     },
                 .forward = forward,
                 .backward = backward});

#if defined(THORAX_PLUGIN_UNRESOLVED)
void nobody_has_this();
const auto needs_it = &nobody_has_this;
#endif

#if defined(THORAX_PLUGIN_BAD_NAME)
THORAX_PLUGIN("cubes and more") {
#else
THORAX_PLUGIN("cubes") {
#endif
  add_op({"cube", "", run_cube});
#if defined(THORAX_PLUGIN_OWN_TABLE)
  static Registry<ActivationProvider> own("activation");
#endif
#if defined(THORAX_PLUGIN_THROWS_NUMBER)
  throw 7;
#endif
#if defined(THORAX_PLUGIN_UNRESOLVED)
  needs_it();
#endif
#if defined(THORAX_PLUGIN_THROWS)
  fail("[cubes] the tables are out");
#endif
}

#endif
