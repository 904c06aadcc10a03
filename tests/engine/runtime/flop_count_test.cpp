#include "engine/runtime/flop_count.h"

#include <doctest/doctest.h>

#include "kernels/conv2d/conv2d.h"
#include "kernels/linear/linear.h"
#include "tests/support/check.h"

using namespace thorax;

TEST_CASE("operations are counted where they are called, forward and each gradient") {
  const Variable x(test::normals({3, 8}, 1)), w(test::normals({5, 8}, 2), true);
  const Variable image(test::normals({2, 6, 6, 4}, 3)),
      filter(test::normals({7, 3, 3, 4}, 4), true);
  constexpr double kLinear = 2 * 3 * 8 * 5, kConv = 2.0 * (2 * 6 * 6 * 7) * (3 * 3 * 4);
  const FlopCount all;
  {
    const FlopCount one;
    const Variable y = linear(x, w, {});
    CHECK(one.count() == kLinear);
    backward(y, Tensor::full({3, 5}, 1));
    CHECK(one.count() == 2 * kLinear);  // of the weight; the input wants no gradient
  }
  CHECK(all.count() == 0);  // the innermost counts
  const Variable y = conv2d(image, filter, {}, {.padding = 1});
  CHECK(all.count() == kConv);
  filter.state()->requires_grad = false;
  conv2d(image, filter, {}, {.padding = 1});
  CHECK(all.count() == 2 * kConv);
  filter.state()->requires_grad = true;
  const Variable wanted(image.value(), true);
  backward(conv2d(wanted, filter, {}, {.padding = 1}), Tensor::full({2, 6, 6, 7}, 1));
  CHECK(all.count() == 5 * kConv);
}
