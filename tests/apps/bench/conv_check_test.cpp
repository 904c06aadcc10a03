// Checks of convolutions: right results pass, one wrong element does not.
#include "apps/bench/conv_check.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "kernels/common/trial.h"

using namespace thorax;
using namespace thorax::app;

namespace {

Tensor values(const Shape& shape, std::uint64_t seed) {
  return trial_values(shape, DType::f32, Device{}, seed);
}

double allowed(std::int64_t terms) {
  return trial_bound(terms, DType::f32, DType::f32);
}

// The three errors of what the reference makes; the result's element `spoil` is changed first.
template <class Problem, class Registry>
std::array<double, 3> errors(const Problem& p, const Registry& registry, bool transposed,
                             std::int64_t spoil, float by) {
  const auto& reference = registry.named("reference");
  const Tensor x = values(p.input_shape(), 1), w = values(p.filter_shape(), 2),
               dy = values(p.output_shape(), 3), y = Tensor::empty(p.output_shape()),
               dx = Tensor::empty(p.input_shape()), dw = Tensor::empty(p.filter_shape());
  if constexpr (requires { p.relu; }) {
    reference.forward(p, x, w, {}, {}, y);
    reference.backward_data(p, dy, w, {}, dx);
    reference.backward_filter(p, x, dy, {}, dw, {});
  } else {
    reference.forward(p, x, w, {}, y);
    reference.backward_data(p, dy, w, dx);
    reference.backward_filter(p, x, dy, dw, {});
  }
  for (const Tensor& t : {y, dx, dw})
    if (spoil >= 0) t.data<float>()[spoil % t.numel()] += by;
  const ConvGeometry g(p);
  const double of_y = transposed ? x_error(g, x, {}, w, {}, y, allowed(g.x_terms()))
                                 : y_error(g, x, w, {}, false, y, allowed(g.y_terms()));
  const double of_x = transposed ? y_error(g, dy, w, {}, false, dx, allowed(g.y_terms()))
                                 : x_error(g, dy, {}, w, {}, dx, allowed(g.x_terms()));
  const double of_w = transposed ? filter_error(g, dy, x, {}, dw, allowed(g.filter_terms()))
                                 : filter_error(g, x, dy, {}, dw, allowed(g.filter_terms()));
  return {of_y, of_x, of_w};
}

template <class Problem, class Registry>
void check(const Problem& p, const Registry& registry, bool transposed) {
  INFO(p.to_string());
  for (const double error : errors(p, registry, transposed, -1, 0)) CHECK(error <= 1);
  for (const double error : errors(p, registry, transposed, 17, 0.1f)) CHECK(error > 1);
  for (const double error : errors(p, registry, transposed, 5, NAN)) CHECK(std::isinf(error));
}

}  // namespace

TEST_CASE("convolutions' checks: stride, padding, dilation and groups, oblong") {
  Conv2dProblem p;
  p.batch = 2;
  p.height = 9;
  p.width = 7;
  p.in_channels = 6;
  p.out_channels = 4;
  p.kernel_h = 3;
  p.kernel_w = 2;
  check(p, conv2d_providers(), false);
  p.stride_h = 2;
  p.pad_w = 1;
  p.dilation_w = 2;
  check(p, conv2d_providers(), false);
  p.groups = 2;
  check(p, conv2d_providers(), false);
}

TEST_CASE("transposed convolutions' checks: stride and groups") {
  ConvTranspose2dProblem p;
  p.batch = 2;
  p.height = 5;
  p.width = 4;
  p.in_channels = 6;
  p.out_channels = 4;
  p.kernel_h = p.kernel_w = p.stride_h = p.stride_w = 2;
  check(p, conv_transpose2d_providers(), true);
  p.stride_w = 1;
  p.groups = 2;
  check(p, conv_transpose2d_providers(), true);
}

TEST_CASE("convolutions' checks: bias, ReLU and gate") {
  Conv2dProblem p;
  p.batch = 1;
  p.height = p.width = 5;
  p.in_channels = 3;
  p.out_channels = 4;
  p.kernel_h = p.kernel_w = 3;
  p.bias = p.relu = true;
  const auto& reference = conv2d_providers().named("reference");
  const Tensor x = values(p.input_shape(), 1), w = values(p.filter_shape(), 2),
               bias = values({4}, 4), dy = values(p.output_shape(), 3),
               y = Tensor::empty(p.output_shape()), dx = Tensor::empty(p.input_shape()),
               dw = Tensor::empty(p.filter_shape());
  reference.forward(p, x, w, bias, {}, y);
  reference.backward_data(p, dy, w, y, dx);
  reference.backward_filter(p, x, dy, y, dw, {});
  const ConvGeometry g(p);
  CHECK(y_error(g, x, w, bias, true, y, allowed(g.y_terms())) <= 1);
  CHECK(y_error(g, x, w, {}, true, y, allowed(g.y_terms())) > 1);
  CHECK(y_error(g, x, w, bias, false, y, allowed(g.y_terms())) > 1);
  CHECK(x_error(g, dy, y, w, {}, dx, allowed(g.x_terms())) <= 1);
  CHECK(x_error(g, dy, {}, w, {}, dx, allowed(g.x_terms())) > 1);
  CHECK(filter_error(g, x, dy, y, dw, allowed(g.filter_terms())) <= 1);
  CHECK(filter_error(g, x, dy, {}, dw, allowed(g.filter_terms())) > 1);
}
