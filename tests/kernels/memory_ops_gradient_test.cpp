// Float64 gradient checks of the references of the operations that move more than they compute.
#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/concat/concat.h"
#include "kernels/fuse_multires/fuse_multires.h"
#include "kernels/pool/pool.h"
#include "kernels/upsample/upsample.h"
#include "tests/support/check.h"

using namespace thorax;
using test::normals;

namespace {

void check(const std::function<Variable(const std::vector<Variable>&)>& function,
           const std::vector<Tensor>& inputs, const std::string& what) {
  const GradcheckResult result = gradcheck(function, inputs);
  CAPTURE(what);
  CAPTURE(result.message);
  CHECK(result.ok);
}

}  // namespace

TEST_CASE("batch_norm reference: float64 gradient check") {
  for (const bool training : {true, false}) {
    for (const bool relu : {false, true}) {
      for (const bool residual : {false, true}) {
        const BatchNormState state{normals({3}, 8, DType::f64), Tensor::full({3}, 0.7, DType::f64)};
        std::vector<Tensor> inputs{normals({2, 4, 3, 3}, 1, DType::f64),
                                   normals({3}, 2, DType::f64), normals({3}, 3, DType::f64)};
        if (residual) inputs.push_back(normals({2, 4, 3, 3}, 4, DType::f64));
        check(
            [&](const std::vector<Variable>& in) {
              return batch_norm(in[0], in[1], in[2], state, {.training = training, .relu = relu},
                                residual ? in[3] : Variable{});
            },
            inputs, fmt::format("training {} relu {} residual {}", training, relu, residual));
      }
    }
  }
}

TEST_CASE("pool reference: float64 gradient check") {
  const std::vector<PoolOptions> cases{
      {.kernel = 2},
      {.kernel = 3, .stride = 2, .padding = 1},
      {.kernel = 3, .stride = 1, .padding = 1, .count_include_pad = false},
      {.kernel = 3, .stride = 2, .ceil_mode = true},
      {.kernel = 2, .stride = 3}};
  for (const PoolOptions& options : cases) {
    const std::vector<Tensor> x{normals({2, 6, 7, 3}, 1, DType::f64)};
    check([&](const auto& in) { return max_pool2d(in[0], options); }, x, "max");
    check([&](const auto& in) { return avg_pool2d(in[0], options); }, x, "avg");
  }
  check([](const auto& in) { return global_avg_pool(in[0]); },
        {normals({2, 3, 5, 4}, 1, DType::f64)}, "global");
}

TEST_CASE("upsample reference: float64 gradient check") {
  const std::vector<Tensor> x{normals({2, 3, 4, 3}, 1, DType::f64)};
  for (const std::int64_t factor : {1, 2, 3})
    check([&](const auto& in) { return upsample_nearest(in[0], factor); }, x, "nearest");
  for (const bool align : {false, true})
    for (const auto& [h, w] : {std::pair{6, 8}, {7, 5}, {2, 3}, {1, 1}, {3, 4}})
      check([&, height = h,
             width = w](const auto& in) { return upsample_bilinear(in[0], height, width, align); },
            x, fmt::format("bilinear {}x{} align {}", h, w, align));
}

TEST_CASE("fuse_multires reference: float64 gradient check") {
  for (const bool relu : {false, true})
    check([&](const auto& in) { return fuse_multires(in, relu); },
          {normals({2, 8, 4, 3}, 1, DType::f64), normals({2, 4, 2, 3}, 2, DType::f64),
           normals({2, 8, 4, 3}, 3, DType::f64), normals({2, 2, 1, 3}, 4, DType::f64)},
          "fuse");
}

TEST_CASE("concat: float64 gradient check") {
  check([](const auto& in) { return concat(in); },
        {normals({2, 3, 2, 3}, 1, DType::f64), normals({2, 3, 2, 1}, 2, DType::f64),
         normals({2, 3, 2, 2}, 3, DType::f64)},
        "concat");
}
