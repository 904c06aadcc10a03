#include "kernels/dice_loss/dice_loss.h"

#include <doctest/doctest.h>

#include "kernels/dice_loss/cases.h"
#include "tests/support/check.h"
#include "tests/support/device.h"
#include "tests/support/gpu.h"
#include "tests/support/threads.h"

using namespace thorax;

namespace {

constexpr double kRounding = 0x1p-24;

// 0 and 1 at random; `kind` 1: u8 with 255 for 1; 2: values between 0 and 1.
Tensor make_target(const Shape& shape, int kind, std::uint64_t seed) {
  Philox random(seed);
  const Tensor target = Tensor::empty(shape, kind == 1 ? DType::u8 : DType::f32);
  for (std::int64_t i = 0; i < target.numel(); ++i) {
    const double u = random.uniform();
    if (kind == 1)
      target.data<std::uint8_t>()[i] = u < 0.3 ? 255 : 0;
    else
      target.data<float>()[i] = kind == 2 ? static_cast<float>(u) : u < 0.3 ? 1.0f : 0.0f;
  }
  return target;
}

struct Result {
  Tensor sums, loss, dx;
};
Result run(const DiceProvider& provider, const DiceProblem& p, const Tensor& x,
           const Tensor& target, double dloss = 1.5) {
  const auto on = [&](const Tensor& t) { return test::on(provider.device, t); };
  const DType type = p.dtype == DType::f64 ? DType::f64 : DType::f32;
  const Result r{on(test::poisoned({p.groups(), 3}, DType::f64)), on(test::poisoned({1}, type)),
                 on(test::as_slice(test::poisoned(p.shape, p.dtype)))};
  const Tensor logits = on(x), labels = on(target);
  provider.forward(p, logits, labels, r.sums, r.loss);
  provider.backward(p, on(Tensor::full({1}, dloss, type)), logits, labels, r.sums, r.dx);
  return {r.sums.to(Device{}), r.loss.to(Device{}), r.dx.to(Device{})};
}

// x[i] = ((7 i) % 11 - 5) / 2, target[i] = (5 i) % 3 == 0; 2 x 6.
Tensor golden_logits(DType dtype) {
  const Tensor x = Tensor::empty({2, 6}, DType::f64);
  for (std::int64_t i = 0; i < 12; ++i)
    x.data<double>()[i] = (static_cast<double>(i * 7 % 11) - 5) / 2;
  return x.to(dtype);
}
Tensor golden_target(DType dtype) {
  const Tensor g = Tensor::empty({2, 6}, DType::f64);
  for (std::int64_t i = 0; i < 12; ++i) g.data<double>()[i] = i * 5 % 3 == 0;
  return g.to(dtype);
}

}  // namespace

TEST_CASE("every dice_loss provider against the reference") {
  const DiceProvider& reference = dice_loss_providers().named("reference");
  for (const auto& [name, shape] : dice_loss_cases::all()) {
    for (const bool squared : {true, false}) {
      for (const bool per_image : {true, false}) {
        for (const int kind : {0, 1, 2}) {
          const DiceProblem problem{.shape = shape, .squared = squared, .per_image = per_image};
          const Tensor x = test::as_slice(test::normals(shape, 1, DType::f32, 3.0));
          const Tensor target = make_target(shape, kind, 2);
          const Result wanted = run(reference, problem, x, target);
          double smallest = std::numeric_limits<double>::infinity();  // denominator
          for (std::int64_t g = 0; g < problem.groups(); ++g)
            smallest = std::min(smallest, wanted.sums.data<double>()[3 * g + 1] +
                                              wanted.sums.data<double>()[3 * g + 2]);
          // A sum of non-negative terms: 32 additions in float lanes, 3 of lanes, 10 roundings a
          // term. The loss is a quotient of two; a gradient is at most 2 * weight * p (1 - p).
          const double sum_bound = 48 * kRounding;
          const double weight = 1.5 / static_cast<double>(problem.groups()) / smallest;
          for (const DiceProvider& provider : dice_loss_providers().all()) {
            CAPTURE(provider.name);
            CAPTURE(name);
            CAPTURE(problem.to_string());
            const Result got = run(provider, problem, x, target);
            CHECK(test::difference(got.sums, wanted.sums, 1e-30, sum_bound).worst <= 1);
            CHECK(test::difference(got.loss, wanted.loss, 2 * sum_bound).worst <= 1);
            CHECK(test::difference(got.dx, wanted.dx, 3 * sum_bound * weight).worst <= 1);
          }
        }
      }
    }
  }
}

TEST_CASE("dice_loss with 16-bit logits: sums and loss in float, a gradient times a loss scale") {
  const DiceProvider& reference = dice_loss_providers().named("reference");
  for (const DType type : {DType::f16, DType::bf16}) {
    for (const Shape& shape : {Shape{2, 33, 31, 2}, Shape{3, 40, 40, 1}}) {
      for (const bool squared : {true, false}) {
        for (const int kind : {0, 1, 2}) {
          const DiceProblem wide{.shape = shape, .squared = squared};
          DiceProblem narrow = wide;
          narrow.dtype = type;
          const Tensor x = test::normals(shape, 1, type, 3.0), target = make_target(shape, kind, 2);
          const double scale = 65536;
          const Result wanted = run(reference, wide, x.to(DType::f32), target, scale);
          for (const DiceProvider& provider : dice_loss_providers().all()) {
            if (provider.priority(narrow) < 0) continue;
            CAPTURE(provider.name);
            CAPTURE(narrow.to_string());
            const Result got = run(provider, narrow, x, target, scale);
            CHECK(test::difference(got.sums, wanted.sums, 0, 48 * kRounding).worst <= 1);
            CHECK(got.loss.dtype() == DType::f32);
            CHECK(test::difference(got.loss, wanted.loss, 96 * kRounding).worst <= 1);
            // On top of the float bound, rounding to 11 or 8 bits.
            const double weight =
                scale / (wanted.sums.data<double>()[1] + wanted.sums.data<double>()[2]);
            const double digits = type == DType::f16 ? 0x1p-11 : 0x1p-8;
            CHECK(test::difference(got.dx, wanted.dx, 144 * kRounding * weight, digits).worst <= 1);
            // A target of the logits' own type gives the same.
            if (kind == 0)
              CHECK(test::same_bits(run(provider, narrow, x, target.to(type), scale).dx, got.dx));
          }
        }
      }
    }
  }
}

TEST_CASE("dice_loss: slice or not, any order of threads, the same bits from run to run") {
  const Tensor x = test::normals({2, 67, 64, 1}, 3), target = make_target(x.shape(), 0, 4);
  for (const DiceProvider& provider : dice_loss_providers().all()) {
    CAPTURE(provider.name);
    for (const bool per_image : {true, false}) {
      const DiceProblem problem{.shape = x.shape(), .per_image = per_image};
      const Result once = run(provider, problem, x, target);
      test::in_every_thread_order([&] {
        for (const Tensor& logits : {x, test::as_slice(x)}) {
          const Result again = run(provider, problem, logits, target);
          CHECK(test::same_bits(again.sums, once.sums));
          CHECK(test::same_bits(again.loss, once.loss));
          CHECK(test::same_bits(again.dx, once.dx));
        }
      });
    }
  }
}

TEST_CASE("dice_loss on a device: the tape returns the gradient without reading it") {
  const Tensor x = test::normals({2, 9, 9, 1}, 3), target = make_target(x.shape(), 1, 4);
  const Variable here(x, true), there(x.to(test::gpu()), true);
  backward(dice_loss(here, target));
  backward(dice_loss(there, target.to(test::gpu())));
  CHECK(there.grad().device() == test::gpu());
  CHECK(test::difference(there.grad().to(Device{}), here.grad(), 1e-7).worst <= 1);
}

TEST_CASE("dice_loss cpu: 1 and 2 threads, slice or not, give the same bits") {
  const Tensor x = test::normals({3, 150, 151, 1}, 3), target = make_target(x.shape(), 0, 4);
  const DiceProvider& cpu = dice_loss_providers().named("cpu");
  for (const bool per_image : {true, false}) {
    const DiceProblem problem{.shape = x.shape(), .per_image = per_image};
    const Result one = test::with_threads(1, [&] { return run(cpu, problem, x, target); });
    const Result two =
        test::with_threads(2, [&] { return run(cpu, problem, test::as_slice(x), target); });
    CHECK(test::same_values(one.loss, two.loss));
    CHECK(test::same_values(one.dx, two.dx));
  }
}

TEST_CASE("dice_loss: loss and gradient as PyTorch computes them") {
  struct Golden {
    bool squared, per_image;
    double loss;
    std::vector<double> gradient;  // first two columns
  };
  const std::vector<Golden> golden{
      {true,
       false,
       0.30310969044783076,
       {-0.01714808395793427, 0.025869561779884462, -0.010471679044571466, 0.022497643662450207}},
      {true,
       true,
       0.3023867582534423,
       {-0.01733017352440825, 0.019023707780886336, -0.0061049896104511305, 0.0285452357726436}},
      {false,
       false,
       0.43642194325469585,
       {-0.010515872764628235, 0.011571407764679138, -0.0157495100062915, 0.014713511501953132}},
      {false,
       true,
       0.4358982779667953,
       {-0.01155357713654212, 0.00851616251712086, -0.014172777037585476, 0.018653429280618906}},
  };
  for (const Golden& g : golden) {
    for (const auto& [provider, dtype, bound] : {std::tuple{"reference", DType::f64, 1e-12},
                                                 {"reference", DType::f32, 1e-6},
                                                 {"cpu", DType::f32, 4e-6}}) {
      const ProviderScope scope("dice_loss", provider);
      const Variable x(golden_logits(dtype), true);
      const Variable loss =
          dice_loss(x, golden_target(dtype), {.squared = g.squared, .per_image = g.per_image});
      CHECK(loss.value().item() == doctest::Approx(g.loss).epsilon(bound));
      backward(loss);
      const Tensor gradient = x.grad().to(DType::f64);
      for (int row = 0; row < 2; ++row)
        for (int column = 0; column < 2; ++column)
          CHECK(std::abs(gradient.data<double>()[row * 6 + column] -
                         g.gradient[static_cast<std::size_t>(row * 2 + column)]) < bound);
    }
  }
}

TEST_CASE("dice_loss of a perfect, an empty and a vanished prediction") {
  for (const DiceProvider& provider : dice_loss_providers().all()) {
    CAPTURE(provider.name);
    const ProviderScope scope("dice_loss", provider.name);
    const Shape shape{1, 8, 8, 1};
    const auto full = [&](double value) {
      return Tensor::full(shape, value, DType::f32, Device{provider.device, 0});
    };
    const Tensor ones = full(1), zeros = full(0);
    const Variable sure(full(60)), never(full(-60));
    CHECK(dice_loss(sure, ones).value().item() == doctest::Approx(0).epsilon(1e-6));
    CHECK(dice_loss(never, ones).value().item() == doctest::Approx(1).epsilon(1e-6));
    // Nothing there: 1 as long as anything is predicted, 0 when nothing is.
    CHECK(dice_loss(sure, zeros).value().item() == doctest::Approx(1).epsilon(1e-6));
    CHECK(dice_loss(never, zeros).value().item() == doctest::Approx(0).epsilon(1e-6));
  }
}

TEST_CASE("dice_loss names what does not fit") {
  const Variable x(test::normals({1, 4, 4, 1}, 1));
  CHECK_THROWS_WITH_AS(dice_loss(x, Tensor::zeros({1, 4, 5, 1})),
                       doctest::Contains("logits 1x4x4x1 and target 1x4x5x1"), Error);
  CHECK_THROWS_WITH_AS(dice_loss(x, Tensor::zeros({1, 4, 4, 1}, DType::i64)),
                       doctest::Contains("target of type i64"), Error);
  CHECK_THROWS_WITH_AS(dice_loss(x, Tensor::zeros({1, 4, 4, 1}), {.epsilon = 0}),
                       doctest::Contains("epsilon"), Error);
  CHECK_THROWS_WITH_AS(
      dice_loss(Variable(Tensor::zeros({0, 4, 4, 1})), Tensor::zeros({0, 4, 4, 1})),
      doctest::Contains("no element"), Error);
}
