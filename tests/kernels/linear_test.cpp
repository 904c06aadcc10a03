#include "kernels/linear/linear.h"

#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "engine/runtime/device.h"
#include "engine/runtime/sim/block.h"
#include "kernels/linear/cases.h"
#include "tests/support/check.h"
#include "tests/support/threads.h"

using namespace thorax;

namespace {

struct Data {
  Tensor x, weight, bias, dy;
};

// Whole numbers (exact in any order) or normal ones; x and dy as slices of wider tensors.
Data make(const LinearProblem& p, bool whole, std::uint64_t seed) {
  const auto fill = [&](const Shape& shape, std::uint64_t n) {
    return whole ? test::integers(shape, 4, seed + n) : test::normals(shape, seed + n);
  };
  return {test::as_slice(fill(p.input_shape(), 0)), fill(p.weight_shape(), 1),
          p.bias ? fill({p.out_features}, 2) : Tensor{}, test::as_slice(fill(p.output_shape(), 3))};
}

struct Result {
  Tensor y, dx, dweight, dbias;
};

// Every output starts poisoned; y and dx are slices. Runs on the provider's device.
Result run(const LinearProvider& provider, const LinearProblem& p, const Data& d) {
  const Device device{provider.device, 0};
  const auto there = [&](const Tensor& t) {
    return !t.defined() || t.device() == device ? t
           : t.contiguous()                     ? t.to(device)
                                                : test::as_slice(t.to(device));
  };
  const auto output = [&](const Shape& shape) { return test::poisoned(shape, DType::f32, device); };
  const Tensor x = there(d.x), weight = there(d.weight), dy = there(d.dy);
  const Tensor y = test::as_slice(output(p.output_shape()));
  const Tensor dx = test::as_slice(output(p.input_shape()));
  const Tensor dweight = output(p.weight_shape());
  const Tensor dbias = p.bias ? output({p.out_features}) : Tensor{};
  provider.forward(p, x, weight, there(d.bias), y);
  provider.backward_data(p, dy, weight, y, dx);
  provider.backward_weight(p, x, dy, y, dweight, dbias);
  CHECK(test::neighbours_untouched(y));
  CHECK(test::neighbours_untouched(dx));
  return {y.to(Device{}), dx.to(Device{}), dweight.to(Device{}),
          p.bias ? dbias.to(Device{}) : Tensor{}};
}

Tensor absolute(const Tensor& t) {
  if (!t.defined()) return t;
  const Tensor result = t.clone();
  for (std::int64_t i = 0; i < result.numel(); ++i)
    result.data<float>()[i] = std::abs(result.data<float>()[i]);
  return result;
}

// Largest |a - b| / (terms * 2^-24 * magnitude), element by element: the classic bound for a sum of
// products in any order, magnitude being the same sum over absolute values.
double share_of_bound(const Tensor& a, const Tensor& b, const Tensor& magnitude,
                      std::int64_t terms) {
  const Tensor u = a.to_contiguous(), v = b.to_contiguous(), m = magnitude.to_contiguous();
  double worst = 0;
  for (std::int64_t i = 0; i < u.numel(); ++i) {
    const double error =
        std::abs(static_cast<double>(u.data<float>()[i]) - static_cast<double>(v.data<float>()[i]));
    const double bound = static_cast<double>(terms) * 0x1p-24 * m.data<float>()[i] + 1e-30;
    if (!(error / bound <= worst)) worst = error / bound;
  }
  return worst;
}

}  // namespace

TEST_CASE("every linear provider equals the reference on whole numbers, bit for bit") {
  const LinearProvider& reference = linear_providers().named("reference");
  for (const auto& [name, problem] : linear_cases::all()) {
    const Data data = make(problem, true, 10);
    const Result wanted = run(reference, problem, data);
    for (const LinearProvider& provider : linear_providers().all()) {
      if (device_count(provider.device) == 0 || provider.priority(problem) < 0) continue;
      CAPTURE(name);
      CAPTURE(provider.name);
      const Result got = run(provider, problem, data);
      CHECK(test::same_values(got.y, wanted.y));
      CHECK(test::same_values(got.dx, wanted.dx));
      CHECK(test::same_values(got.dweight, wanted.dweight));
      if (problem.bias) CHECK(test::same_values(got.dbias, wanted.dbias));
    }
  }
}

TEST_CASE("every linear provider stays within the rounding bound of its sums") {
  const LinearProvider& reference = linear_providers().named("reference");
  for (const auto& [name, p] : linear_cases::all()) {
    LinearProblem problem = p;
    problem.relu = false;  // the mask would hide or flip elements near 0
    const Data data = make(problem, false, 20);
    const Result wanted = run(reference, problem, data);
    const Result size =
        run(reference, problem,
            {absolute(data.x), absolute(data.weight), absolute(data.bias), absolute(data.dy)});
    for (const LinearProvider& provider : linear_providers().all()) {
      if (device_count(provider.device) == 0 || provider.priority(problem) < 0) continue;
      CAPTURE(name);
      CAPTURE(provider.name);
      const Result got = run(provider, problem, data);
      CHECK(share_of_bound(got.y, wanted.y, size.y, problem.in_features + 2) <= 1);
      CHECK(share_of_bound(got.dx, wanted.dx, size.dx, problem.out_features + 2) <= 1);
      CHECK(share_of_bound(got.dweight, wanted.dweight, size.dweight, problem.rows + 2) <= 1);
    }
  }
}

TEST_CASE("linear on the simulated GPU: the order of threads does not matter") {
  const LinearProvider& cuda = linear_providers().named("cuda", DeviceKind::sim);
  for (const auto& [name, problem] : linear_cases::all()) {
    if (name != "study head 2" && name != "many rows") continue;
    CAPTURE(name);
    const Data data = make(problem, false, 40);
    const Result forward = run(cuda, problem, data);
    for (const sim::Order order : {sim::Order::reverse, sim::Order::random}) {
      sim::set_order(order, 7);
      const Result other = run(cuda, problem, data);
      sim::set_order(sim::Order::forward);
      CHECK(test::same_values(forward.y, other.y));
      CHECK(test::same_values(forward.dx, other.dx));
      CHECK(test::same_values(forward.dweight, other.dweight));
      CHECK(test::same_values(forward.dbias, other.dbias));
    }
  }
}

TEST_CASE("linear cpu: the same bits with 1 and 2 threads, and row by row") {
  const LinearProvider& cpu = linear_providers().named("cpu");
  for (const auto& [name, problem] : linear_cases::all()) {
    CAPTURE(name);
    const Data data = make(problem, false, 30);
    const Result one = test::with_threads(1, [&] { return run(cpu, problem, data); });
    const Result two = test::with_threads(2, [&] { return run(cpu, problem, data); });
    CHECK(test::same_values(one.y, two.y));
    CHECK(test::same_values(one.dx, two.dx));
    CHECK(test::same_values(one.dweight, two.dweight));
    // An image's result does not depend on its neighbours in the batch.
    if (problem.rows < 2) continue;
    LinearProblem single = problem;
    single.rows = 1;
    const Tensor last = test::poisoned(single.output_shape());
    cpu.forward(single, data.x.batch_slice(problem.rows - 1, 1), data.weight, data.bias, last);
    CHECK(test::same_values(last, one.y.batch_slice(problem.rows - 1, 1)));
  }
}

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

TEST_CASE("linear through the tape keeps only what a gradient needs") {
  const Variable x(test::normals({4, 6}, 1), true), frozen(test::normals({3, 6}, 2));
  const Variable y = linear(x, frozen, {});
  backward(y, test::normals({4, 3}, 3));
  CHECK(x.grad().shape() == Shape{4, 6});
  CHECK(!frozen.grad().defined());
  const Variable weight(test::normals({3, 6}, 2), true), bias(test::normals({3}, 4), true);
  backward(linear(x.detach(), weight, bias, true), test::normals({4, 3}, 3));
  CHECK(weight.grad().shape() == Shape{3, 6});
  CHECK(bias.grad().shape() == Shape{3});
}

TEST_CASE("linear names the shapes that do not fit") {
  const Variable x(test::normals({2, 5}, 1)), weight(test::normals({3, 4}, 2));
  CHECK_THROWS_WITH_AS(linear(x, weight, {}),
                       doctest::Contains("[linear] input 2x5: weight 3x4 wants 4 features"), Error);
  const Variable good(test::normals({3, 5}, 2));
  CHECK_THROWS_WITH_AS(linear(x, good, Variable(test::normals({4}, 3))),
                       doctest::Contains("bias 4 f32 for weight 3x5 f32"), Error);
  CHECK_THROWS_WITH_AS(linear(Variable(test::normals({2, 1, 1, 5}, 1)), good, {}),
                       doctest::Contains("must be N x in, got 2x1x1x5"), Error);
  CHECK_THROWS_WITH_AS(linear(x, Variable(test::normals({3, 5}, 2, DType::f64)), {}),
                       doctest::Contains("input is f32, weight f64"), Error);
}
