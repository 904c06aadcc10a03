// Losses and resampling against PyTorch's float64 (tests/golden/make_ops.py).
#include <doctest/doctest.h>

#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dice_loss/dice_loss.h"
#include "kernels/upsample/upsample.h"
#include "tests/support/check.h"
#include "tests/support/golden.h"

using namespace thorax;
using test::golden_error;
using test::GoldenCase;

namespace {

// The file holds float32. In float64 only that rounding is left; in float32 every value takes a few
// roundings, and the sums of at most 4000 terms some more.
constexpr double kFloat64 = 0x1p-23, kFloat32 = 0x1p-19;

Variable loss_of(const GoldenCase& c, const Variable& x) {
  const std::string& op = c.options.at("op");
  if (op == "dice_loss")
    return dice_loss(x, c.tensors.at("target").to(x.value().dtype()),
                     {.per_image = c.flag("per_image"), .epsilon = c.number("epsilon")});
  if (op == "bce_with_logits")
    return bce_with_logits(
        x, c.tensors.at("target").to(x.value().dtype()), c.number("pos_weight"),
        c.tensors.contains("weight") ? c.tensors.at("weight").to(x.value().dtype()) : Tensor());
  REQUIRE(op == "cross_entropy");
  return cross_entropy(x, c.tensors.at("target"), c.number("label_smoothing"));
}

void check_losses(DType dtype, double allowed) {
  const auto cases = test::golden_cases("losses.safetensors");
  REQUIRE(cases.size() == 19);
  for (std::size_t k = 0; k < cases.size(); ++k) {
    CAPTURE(k);
    const GoldenCase& c = cases[k];
    const Variable x(c.tensors.at("input").to(dtype), true);
    const Variable loss = loss_of(c, x);
    CHECK(golden_error(loss.value(), c.tensors.at("output")) <= allowed);
    backward(loss);
    CHECK(golden_error(x.grad(), c.tensors.at("grad.input")) <= allowed);
  }
}

void check_upsample(DType dtype, double allowed) {
  const auto cases = test::golden_cases("upsample.safetensors");
  REQUIRE(cases.size() == 8);
  for (std::size_t k = 0; k < cases.size(); ++k) {
    CAPTURE(k);
    const GoldenCase& c = cases[k];
    const Variable x(c.tensors.at("input").to(dtype), true);
    const Shape& size = c.tensors.at("output").shape();
    const bool nearest = c.options.at("mode") == "nearest";
    const Variable y = nearest ? upsample_nearest(x, size[1] / x.value().shape()[1])
                               : upsample_bilinear(x, size[1], size[2]);
    CHECK(y.value().shape() == size);
    CHECK(golden_error(y.value(), c.tensors.at("output")) <= allowed);
    backward(y, c.tensors.at("grad_output").to(dtype));
    CHECK(golden_error(x.grad(), c.tensors.at("grad.input")) <= allowed);
  }
}

}  // namespace

TEST_CASE("golden losses: values and gradients, float32 and the float64 reference") {
  check_losses(DType::f32, kFloat32);
  const ProviderScope dice("dice_loss", "reference"), bce("bce_with_logits", "reference"),
      cross("cross_entropy", "reference");
  check_losses(DType::f64, kFloat64);
}

TEST_CASE("golden upsampling: values and gradients, float32 and the float64 reference") {
  check_upsample(DType::f32, kFloat32);
  const ProviderScope reference("upsample", "reference");
  check_upsample(DType::f64, kFloat64);
}
