#include "kernels/matmul/matmul.h"

#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "kernels/matmul/cases.h"
#include "tests/support/check.h"
#include "tests/support/on_device.h"

using namespace thorax;

namespace {

// The definition in double: values a, b of `count` products (b of one or of all), one after the
// other.
std::vector<double> product(const Tensor& a, const Tensor& b) {
  const Tensor left = a.to(DType::f64), right = b.to(DType::f64);
  const std::int64_t m = a.size(-2), k = a.size(-1), n = b.size(-1);
  std::int64_t count = 1;
  for (int axis = 0; axis < a.rank() - 2; ++axis) count *= a.size(axis);
  std::vector<double> result;
  for (std::int64_t i = 0; i < count; ++i) {
    const double* u = left.data<double>() + i * m * k;
    const double* v = right.data<double>() + (b.rank() == 2 ? 0 : i * k * n);
    for (std::int64_t row = 0; row < m; ++row) {
      for (std::int64_t column = 0; column < n; ++column) {
        double sum = 0;
        for (std::int64_t t = 0; t < k; ++t) sum += u[row * k + t] * v[t * n + column];
        result.push_back(sum);
      }
    }
  }
  return result;
}

}  // namespace

TEST_CASE("matmul of whole numbers is exact on every device") {
  for (const auto& [shape_a, shape_b] : matmul_cases::all()) {
    const Tensor a = test::integers(shape_a, 8, 1), b = test::integers(shape_b, 8, 2);
    const std::vector<double> expected = product(a, b);
    for (const Device device : test::one_device_a_kind()) {
      CAPTURE(shape_a.to_string());
      CAPTURE(to_string(device));
      const Tensor y = matmul(Variable(a.to(device)), Variable(b.to(device))).value().to(Device{});
      REQUIRE(static_cast<std::size_t>(y.numel()) == expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i)
        REQUIRE(static_cast<double>(y.data<float>()[i]) == expected[i]);
    }
  }
}

TEST_CASE("matmul: float64 gradient check, batches included") {
  for (const auto& [shape_a, shape_b] : matmul_cases::all()) {
    if (shape_a.numel() == 0 || shape_b.numel() == 0 || shape_a.numel() > 700) continue;
    const GradcheckResult result =
        gradcheck([](const std::vector<Variable>& in) { return matmul(in[0], in[1]); },
                  {test::normals(shape_a, 1, DType::f64), test::normals(shape_b, 2, DType::f64)});
    CAPTURE(result.message);
    CHECK(result.ok);
  }
}

TEST_CASE("matmul in 16 bits on a GPU has gradients of its type") {
  const Device device{DeviceKind::sim, 0};
  const auto leaf = [&](const Shape& shape, std::uint64_t seed) {
    return Variable(test::integers(shape, 3, seed).to(DType::f16).to(device), true);
  };
  const Variable a = leaf({3, 16, 16}, 1), b = leaf({3, 16, 24}, 2);
  const Variable y = matmul(a, b);
  backward(y, Tensor::full(y.shape(), 1.0, DType::f16, device));
  CHECK(y.value().dtype() == DType::f16);
  CHECK(a.grad().dtype() == DType::f16);
  CHECK(b.grad().dtype() == DType::f16);
  const std::vector<double> expected = product(test::back(a.value()), test::back(b.value()));
  const Tensor got = test::back(y.value());
  for (std::size_t i = 0; i < expected.size(); ++i)
    REQUIRE(static_cast<double>(got.data<float>()[i]) == expected[i]);
}

TEST_CASE("products that do not fit are errors that name both shapes") {
  const auto zeros = [](const Shape& shape) { return Variable(Tensor::zeros(shape)); };
  CHECK_THROWS_WITH_AS(matmul(zeros({2, 3}), zeros({4, 5})),
                       doctest::Contains("[matmul] 2x3 and 4x5: 3 columns of the first for 4 rows"),
                       Error);
  CHECK_THROWS_WITH_AS(matmul(zeros({3}), zeros({3, 5})), doctest::Contains("[matmul] 3 and 3x5"),
                       Error);
  CHECK_THROWS_WITH_AS(matmul(zeros({2, 3, 4}), zeros({5, 4, 6})),
                       doctest::Contains("leading axes"), Error);
}
