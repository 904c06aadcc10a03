#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "kernels/conv2d/conv2d.h"
#include "tests/support/check.h"

using namespace thorax;

TEST_CASE("conv2d reference: float64 gradient check") {
  struct Case {
    Shape x, w;
    Conv2dOptions options;
  };
  const std::vector<Case> cases{
      {{2, 5, 6, 3}, {4, 3, 3, 3}, {.padding = 1}},
      {{1, 7, 5, 4}, {6, 3, 3, 2}, {.stride = 2, .padding = 1, .groups = 2}},
      {{1, 9, 9, 2}, {3, 3, 3, 2}, {.padding = 2, .dilation = 2}},
      {{2, 4, 4, 3}, {5, 1, 1, 3}, {}},
      {{1, 6, 6, 2}, {3, 3, 3, 2}, {.padding = 1, .relu = true}},
  };
  for (const Case& c : cases) {
    const GradcheckResult result = gradcheck(
        [&](const std::vector<Variable>& in) { return conv2d(in[0], in[1], in[2], c.options); },
        {test::normals(c.x, 1, DType::f64), test::normals(c.w, 2, DType::f64),
         test::normals({c.w[0]}, 3, DType::f64)});
    CAPTURE(result.message);
    CHECK(result.ok);
  }
}

TEST_CASE("conv2d names the shapes that do not fit") {
  const Variable x(test::normals({1, 512, 512, 3}, 1)), w(test::normals({8, 3, 3, 1}, 2));
  CHECK_THROWS_WITH_AS(conv2d(x, w, {}),
                       doctest::Contains("[conv2d] input 1x512x512x3: filter 8x3x3x1"), Error);
}
