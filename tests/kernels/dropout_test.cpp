#include "kernels/dropout/dropout.h"

#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "tests/support/check.h"

using namespace thorax;

TEST_CASE("dropout reference: float64 gradient check") {
  const ProviderScope reference("dropout", "reference");
  const GradcheckResult result =
      gradcheck([](const std::vector<Variable>& in) { return dropout(in[0], 0.4, true, 11, 3); },
                {test::normals({5, 9}, 1, DType::f64)});
  CAPTURE(result.message);
  CHECK(result.ok);
}
