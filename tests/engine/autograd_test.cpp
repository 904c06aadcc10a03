#include "engine/autograd/variable.h"

#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "engine/autograd/recompute.h"
#include "tests/support/check.h"

using namespace thorax;

namespace {

// Two small operations of the test's own, so that the tape is tested without any kernel.
Variable multiply(const Variable& a, const Variable& b) {
  const Tensor x = a.value(), y = b.value();
  const auto product = [](const Tensor& u, const Tensor& v) {
    Tensor result = u.clone();
    for (std::int64_t i = 0; i < u.numel(); ++i) result.data<double>()[i] *= v.data<double>()[i];
    return result;
  };
  return record("multiply", product(x, y), {a, b},
                [=](const Tensor& grad, const std::vector<bool>& needs) {
                  return std::vector<Tensor>{needs[0] ? product(grad, y) : Tensor{},
                                             needs[1] ? product(grad, x) : Tensor{}};
                });
}

Variable plus(const Variable& a, const Variable& b) {
  // Hands the same gradient memory to both inputs: the tape must not add into it in place.
  return record("plus", add(a.value(), b.value()), {a, b},
                [](const Tensor& grad, const std::vector<bool>&) {
                  return std::vector<Tensor>{grad, grad};
                });
}

Variable scalar(double value) {
  return Variable(Tensor::full({1}, value, DType::f64), true);
}

}  // namespace

TEST_CASE("gradients of several uses add up") {
  const Variable x = scalar(3), y = scalar(5);
  // z = x*y + x*x + x -> dz/dx = y + 2x + 1, dz/dy = x
  const Variable z = plus(plus(multiply(x, y), multiply(x, x)), x);
  CHECK(z.value().item() == 27);
  backward(z);
  CHECK(x.grad().item() == 12);
  CHECK(y.grad().item() == 3);
  // A second graph accumulates into the same leaves.
  backward(multiply(x, y));
  CHECK(x.grad().item() == 17);
  x.zero_grad();
  CHECK(!x.grad().defined());
}

TEST_CASE("shared gradient memory is never added to in place") {
  const Variable x = scalar(2);
  const Variable a = multiply(x, x), b = multiply(x, x);
  const Variable z = plus(plus(a, b), plus(a, b));
  backward(z);
  CHECK(x.grad().item() == 16);  // z = 4 x^2
}

TEST_CASE("a second backward is a clear error, retain allows it") {
  const Variable x = scalar(2);
  const Variable z = multiply(x, x);
  backward(z, {}, {.retain = true});
  backward(z);
  CHECK(x.grad().item() == 8);
  CHECK_THROWS_WITH_AS(backward(z), doctest::Contains("second backward through 'multiply'"), Error);
}

TEST_CASE("no recording when gradients are off or nobody needs them") {
  const Variable x = scalar(2);
  {
    const NoGrad off;
    const Variable z = multiply(x, x);
    CHECK(!z.requires_grad());
    CHECK_THROWS_WITH_AS(backward(z), doctest::Contains("requires no gradient"), Error);
  }
  const Variable constant(Tensor::full({1}, 4.0, DType::f64));
  CHECK(!multiply(constant, constant).requires_grad());
  CHECK(multiply(constant, x).requires_grad());
}

TEST_CASE("backward wants a seed for a root of many elements") {
  const Variable x(Tensor::full({2, 3}, 1.0, DType::f64), true);
  const Variable z = multiply(x, x);
  CHECK_THROWS_WITH_AS(backward(z), doctest::Contains("2x3"), Error);
  CHECK_THROWS_WITH_AS(backward(z, Tensor::zeros({3, 2}, DType::f64)),
                       doctest::Contains("seed 3x2"), Error);
  backward(z, Tensor::full({2, 3}, 1.0, DType::f64));
  CHECK(x.grad().data<double>()[5] == 2);
}

TEST_CASE("saved tensors are freed by the walk") {
  const Variable x = scalar(2);
  Variable z;
  std::weak_ptr<Storage> intermediate;
  {
    const Variable y = multiply(x, x);
    intermediate = y.value().storage();
    z = multiply(y, x);
  }
  CHECK(!intermediate.expired());
  backward(z);
  CHECK(intermediate.expired());
}

TEST_CASE("recompute gives the same gradients and keeps nothing") {
  const auto block = [](const std::vector<Variable>& in) {
    return multiply(multiply(in[0], in[0]), in[1]);
  };
  const Tensor a = test::normals({5}, 1, DType::f64), b = test::normals({5}, 2, DType::f64);
  const Variable x1(a.clone(), true), y1(b.clone(), true), x2(a.clone(), true), y2(b.clone(), true);
  const Variable inner(test::normals({5}, 3, DType::f64), true);  // a parameter used inside
  const auto with_parameter = [&](const std::vector<Variable>& in) {
    return multiply(block(in), inner);
  };
  const Tensor seed = test::normals({5}, 4, DType::f64);
  backward(with_parameter({x1, y1}), seed);
  const Tensor inner_grad = inner.grad().clone();
  inner.zero_grad();
  int calls = 0, second = 0;
  const Variable z = recompute(
      [&](const std::vector<Variable>& in) {
        ++calls;
        second += recomputing();
        return with_parameter(in);
      },
      {x2, y2});
  CHECK(calls == 1);
  backward(z, seed);
  CHECK(calls == 2);
  CHECK(second == 1);
  CHECK(test::same_values(x1.grad(), x2.grad()));
  CHECK(test::same_values(y1.grad(), y2.grad()));
  CHECK(test::same_values(inner_grad, inner.grad()));
}

TEST_CASE("gradcheck accepts a right gradient and refuses a wrong one") {
  const std::vector<Tensor> inputs{test::normals({4}, 1, DType::f64),
                                   test::normals({4}, 2, DType::f64)};
  CHECK(gradcheck([](const auto& in) { return multiply(in[0], in[1]); }, inputs).ok);
  const auto wrong = [](const std::vector<Variable>& in) {
    return record("wrong", in[0].value().clone(), {in[0]},
                  [](const Tensor& grad, const std::vector<bool>&) {
                    Tensor g = grad.clone();
                    scale_(g, 1.0001);
                    return std::vector<Tensor>{g};
                  });
  };
  const GradcheckResult result = gradcheck(wrong, {inputs[0]});
  CHECK(!result.ok);
  CHECK(result.message.find("input 0") != std::string::npos);
}

TEST_CASE("the first non-finite value is named") {
  const Variable x = scalar(1e200);
  const Variable y = multiply(x, x);  // infinite
  const Variable z = multiply(y, x);
  CHECK(first_non_finite(z).find("multiply") != std::string::npos);
  CHECK(first_non_finite(multiply(scalar(1), scalar(2))).empty());
}

TEST_CASE("a chain of 200,000 nodes is released without recursion") {
  Variable x = scalar(1);
  const Variable one = scalar(0);
  for (int i = 0; i < 200000; ++i) x = plus(x, one);
  CHECK(x.value().item() == 1);
  x = {};
}
