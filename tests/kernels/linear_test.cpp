#include "kernels/linear/linear.h"

#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "tests/support/check.h"

using namespace thorax;

TEST_CASE("linear reference: float64 gradient check") {
  const ProviderScope reference("linear", "reference");
  struct Case {
    Shape x, weight;
    bool bias, relu;
  };
  for (const Case& c : {Case{{3, 5}, {4, 5}, true, false}, Case{{1, 7}, {1, 7}, false, false},
                        Case{{4, 3}, {6, 3}, true, true}, Case{{2, 1}, {3, 1}, false, true}}) {
    std::vector<Tensor> inputs{test::normals(c.x, 1, DType::f64),
                               test::normals(c.weight, 2, DType::f64)};
    if (c.bias) inputs.push_back(test::normals({c.weight[0]}, 3, DType::f64));
    const GradcheckResult result = gradcheck(
        [&](const std::vector<Variable>& in) {
          return linear(in[0], in[1], c.bias ? in[2] : Variable{}, c.relu);
        },
        inputs);
    CAPTURE(result.message);
    CHECK(result.ok);
  }
}
