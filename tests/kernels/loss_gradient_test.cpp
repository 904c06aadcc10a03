// Float64 gradient checks of the losses' references.
#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dice_loss/dice_loss.h"
#include "tests/support/check.h"

using namespace thorax;

namespace {

void check_gradient(const std::function<Variable(const Variable&)>& loss, const Tensor& logits) {
  const GradcheckResult result =
      gradcheck([&](const std::vector<Variable>& in) { return loss(in[0]); }, {logits});
  CAPTURE(result.message);
  CHECK(result.ok);
}

Tensor mask(const Shape& shape, std::uint64_t seed, DType dtype) {
  Tensor values = test::integers(shape, 1, seed, DType::f64);
  for (std::int64_t i = 0; i < values.numel(); ++i)
    values.data<double>()[i] = values.data<double>()[i] > 0 ? 1 : 0;
  return values.to(dtype);
}

}  // namespace

TEST_CASE("dice_loss reference: float64 gradient check") {
  const ProviderScope reference("dice_loss", "reference");
  for (const bool squared : {true, false}) {
    for (const bool per_image : {true, false}) {
      const DiceOptions options{.squared = squared, .per_image = per_image};
      const Shape shape{3, 5, 4, 1};
      const Tensor logits = test::normals(shape, 1, DType::f64);
      check_gradient(
          [&](const Variable& x) { return dice_loss(x, mask(shape, 2, DType::f64), options); },
          logits);
      check_gradient(
          [&](const Variable& x) { return dice_loss(x, mask(shape, 3, DType::u8), options); },
          logits);
      // An empty mask still has a slope towards predicting nothing.
      check_gradient(
          [&](const Variable& x) {
            return dice_loss(x, Tensor::zeros(shape, DType::f64),
                             DiceOptions{squared, per_image, 0.5});
          },
          logits);
    }
  }
}

TEST_CASE("bce_with_logits reference: float64 gradient check") {
  const ProviderScope reference("bce_with_logits", "reference");
  for (const double weight : {1.0, 2.5}) {
    for (const Shape& shape : {Shape{7, 1}, Shape{2, 3, 3, 2}}) {
      const Tensor logits = test::normals(shape, 4, DType::f64, 2.0);
      check_gradient(
          [&](const Variable& x) { return bce_with_logits(x, mask(shape, 5, DType::f64), weight); },
          logits);
      check_gradient(
          [&](const Variable& x) { return bce_with_logits(x, mask(shape, 6, DType::u8), weight); },
          logits);
      check_gradient(
          [&](const Variable& x) {
            return bce_with_logits(x, mask(shape, 5, DType::f64), weight,
                                   test::normals(shape, 9, DType::f64));
          },
          logits);
    }
  }
}

TEST_CASE("cross_entropy reference: float64 gradient check") {
  const ProviderScope reference("cross_entropy", "reference");
  const Tensor labels = Tensor::from(std::vector<std::int64_t>{4, 0, 2, 2}, {4});
  for (const double smoothing : {0.0, 0.1, 1.0})
    check_gradient([&](const Variable& x) { return cross_entropy(x, labels, smoothing); },
                   test::normals({4, 5}, 7, DType::f64, 2.0));
  const Tensor weights = Tensor::from(std::vector<float>{0.5f, 2, 0, 1.25f, 3}, {5});
  check_gradient([&](const Variable& x) { return cross_entropy(x, labels, 0.1, weights); },
                 test::normals({4, 5}, 7, DType::f64, 2.0));
}
