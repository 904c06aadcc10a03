// Providers of the fused SGD and AdamW steps (contract: engine/optim/step.h).
#include <doctest/doctest.h>

#include "engine/optim/step.h"
#include "tests/support/check.h"
#include "tests/support/threads.h"

using namespace thorax;

namespace {

constexpr double kRounding = 0x1p-24;

const std::vector<std::int64_t> kSizes{1, 7, 8, 1000, 32768 + 3};

const std::vector<SgdStep> kSgdSteps{
    {.lr = 0.1},
    {.lr = 0.1, .weight_decay = 0.01},
    {.lr = 0.01, .momentum = 0.8, .weight_decay = 1e-4, .first = true},
    {.lr = 0.01, .momentum = 0.8, .weight_decay = 1e-4},
    {.lr = 0.1, .momentum = 0.9, .dampening = 0.3},
    {.lr = 0.1, .momentum = 0.9, .nesterov = true, .first = true},
    {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.1, .nesterov = true, .grad_scale = 0.125},
};

const std::vector<AdamWStep> kAdamWSteps{
    {.lr = 1e-3},
    {.lr = 1e-2, .weight_decay = 0.3, .step = 17},
    {.lr = 0.1, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-3, .step = 2, .grad_scale = 0.25},
};

struct State {
  Tensor parameter, first, second;
};

State sgd(const char* provider, const SgdStep& step, std::int64_t size, DType dtype = DType::f32) {
  const ProviderScope scope("sgd", provider);
  // A first step must not read the buffer.
  const State s{test::normals({size}, 1, dtype),
                step.first ? test::poisoned({size}, dtype) : test::normals({size}, 2, dtype),
                {}};
  sgd_step(step, s.parameter, test::normals({size}, 3, dtype), s.first);
  return s;
}

State adamw(const char* provider, const AdamWStep& step, std::int64_t size,
            DType dtype = DType::f32) {
  const ProviderScope scope("adamw", provider);
  const State s{test::normals({size}, 1, dtype), test::normals({size}, 2, dtype),
                test::normals({size}, 4, dtype)};
  if (dtype == DType::f32) {
    for (std::int64_t i = 0; i < size; ++i)
      s.second.data<float>()[i] = std::abs(s.second.data<float>()[i]);
  } else {
    for (std::int64_t i = 0; i < size; ++i)
      s.second.data<double>()[i] = std::abs(s.second.data<double>()[i]);
  }
  adamw_step(step, s.parameter, test::normals({size}, 3, dtype), s.first, s.second);
  return s;
}

// ((i * factor) % 7 - 3) / divisor
Tensor fill(std::int64_t size, std::int64_t factor, double divisor, DType dtype) {
  const Tensor t = Tensor::empty({size}, DType::f64);
  for (std::int64_t i = 0; i < size; ++i)
    t.data<double>()[i] = (static_cast<double>(i * factor % 7) - 3) / divisor;
  return t.to(dtype);
}

}  // namespace

TEST_CASE("every SGD provider against the reference") {
  for (const std::int64_t size : kSizes) {
    for (const SgdStep& step : kSgdSteps) {
      const State wanted = sgd("reference", step, size);
      const State exact = sgd("reference", step, size, DType::f64);
      for (const SgdStepProvider& provider : sgd_step_providers().all()) {
        CAPTURE(provider.name);
        CAPTURE(step.to_string());
        // Values are below 6 (normal draws), a step adds at most four terms of that size.
        const double bound = 8 * kRounding * 6;
        const State got = sgd(provider.name, step, size);
        CHECK(test::difference(got.parameter, wanted.parameter, bound).worst <= 1);
        if (step.momentum != 0) CHECK(test::difference(got.first, wanted.first, bound).worst <= 1);
        const State wide = sgd(provider.name, step, size, DType::f64);
        CHECK(test::difference(wide.parameter, exact.parameter, 1e-14).worst <= 1);
      }
    }
  }
}

TEST_CASE("every AdamW provider against the reference") {
  for (const std::int64_t size : kSizes) {
    for (const AdamWStep& step : kAdamWSteps) {
      const State wanted = adamw("reference", step, size);
      const State exact = adamw("reference", step, size, DType::f64);
      for (const AdamWStepProvider& provider : adamw_step_providers().all()) {
        CAPTURE(provider.name);
        CAPTURE(step.to_string());
        const State got = adamw(provider.name, step, size);
        CHECK(test::difference(got.first, wanted.first, 8 * kRounding * 6).worst <= 1);
        CHECK(test::difference(got.second, wanted.second, 8 * kRounding * 6).worst <= 1);
        // The update is a quotient; its relative error is a dozen roundings plus that of the mean,
        // whose terms may cancel. It is compared where the root is far from 0, which |update|
        // <= 100 lr means here; elsewhere its own size bounds it.
        double worst = 0;
        const State before{test::normals({size}, 1), {}, {}};
        for (std::int64_t i = 0; i < size; ++i) {
          const double p = before.parameter.data<float>()[i];
          const double root = std::sqrt(static_cast<double>(wanted.second.data<float>()[i]));
          const double correction = 1 - std::pow(step.beta1, static_cast<double>(step.step));
          const double largest = step.lr / correction * 6 / (root + step.epsilon);
          const double bound = kRounding * (4 * std::abs(p) + 24 * largest);
          worst = std::max(worst, std::abs(static_cast<double>(got.parameter.data<float>()[i]) -
                                           wanted.parameter.data<float>()[i]) /
                                      bound);
        }
        CHECK(worst <= 1);
        const State wide = adamw(provider.name, step, size, DType::f64);
        CHECK(test::difference(wide.parameter, exact.parameter, 1e-13, 1e-12).worst <= 1);
      }
    }
  }
}

TEST_CASE("optimizer steps cpu: 1 and 2 threads give the same bits") {
  const std::int64_t size = 100003;
  const auto run_sgd = [&] { return sgd("cpu", kSgdSteps[3], size).parameter; };
  CHECK(test::same_values(test::with_threads(1, run_sgd), test::with_threads(2, run_sgd)));
  const auto run_adamw = [&] { return adamw("cpu", kAdamWSteps[1], size).parameter; };
  CHECK(test::same_values(test::with_threads(1, run_adamw), test::with_threads(2, run_adamw)));
}

TEST_CASE("three SGD steps as torch.optim.SGD takes them") {
  struct Golden {
    SgdStep step;
    std::vector<double> parameter;
  };
  for (const Golden& g :
       {Golden{{.lr = 0.1}, {-0.3, -0.1, 0.8, -0.05, 0.5}},
        Golden{{.lr = 0.1, .momentum = 0.8, .weight_decay = 1e-2},
               {0.039236700750000075, -0.36349010000000015, 0.71617344925, 0.05499895025000002,
                0.28192214949999994}},
        Golden{{.lr = 0.1, .momentum = 0.9, .dampening = 0.3, .weight_decay = 1e-2},
               {-0.0359197886324999, -0.365160549, 0.7184963621325, 0.06044276162250001,
                0.19653050125499996}},
        Golden{{.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-2, .nesterov = true},
               {0.46129115299425016, -0.4638293859, 0.75833467585575, 0.24456016061475003,
                0.2666761217205}}}) {
    for (const SgdStepProvider& provider : sgd_step_providers().all()) {
      for (const auto& [dtype, bound] : {std::pair{DType::f64, 1e-14}, {DType::f32, 1e-6}}) {
        CAPTURE(provider.name);
        const ProviderScope scope("sgd", provider.name);
        const Tensor p = fill(5, 3, 4, dtype), m = test::poisoned({5}, dtype);
        for (int k = 0; k < 3; ++k) {
          SgdStep step = g.step;
          step.first = k == 0;
          sgd_step(step, p, fill(5, 5 + k, 2, dtype), m);
        }
        CHECK(test::difference(p.to(DType::f64), Tensor::from(g.parameter, {5}), bound).worst <= 1);
      }
    }
  }
}

TEST_CASE("three AdamW steps as torch.optim.AdamW takes them") {
  struct Golden {
    AdamWStep step;
    std::vector<double> parameter;
  };
  for (const Golden& g :
       {Golden{{.lr = 0.01, .weight_decay = 0.01},
               {-0.7197780225992301, -0.021703557407978247, 0.7444608258266436, -0.2309107016992283,
                0.48401077968369094}},
        Golden{{.lr = 0.1, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-3, .weight_decay = 0.3},
               {-0.39360868071285804, -0.20089944615840238, 0.6364184731779856, -0.048235640944731,
                0.3186541121537268}}}) {
    for (const AdamWStepProvider& provider : adamw_step_providers().all()) {
      for (const auto& [dtype, bound] : {std::pair{DType::f64, 1e-12}, {DType::f32, 1e-6}}) {
        CAPTURE(provider.name);
        const ProviderScope scope("adamw", provider.name);
        const Tensor p = fill(5, 3, 4, dtype);
        const Tensor m = Tensor::zeros({5}, dtype), v = Tensor::zeros({5}, dtype);
        for (int k = 0; k < 3; ++k) {
          AdamWStep step = g.step;
          step.step = k + 1;
          adamw_step(step, p, fill(5, 5 + k, 2, dtype), m, v);
        }
        CHECK(test::difference(p.to(DType::f64), Tensor::from(g.parameter, {5}), bound).worst <= 1);
      }
    }
  }
}

TEST_CASE("optimizer steps name what does not fit") {
  const Tensor p = test::normals({2, 3}, 1), g = test::normals({2, 3}, 2);
  CHECK_THROWS_WITH_AS(sgd_step({.lr = 1}, p, test::normals({3, 2}, 2)),
                       doctest::Contains("[sgd] gradient 3x2 f32 for parameter 2x3 f32"), Error);
  CHECK_THROWS_WITH_AS(sgd_step({.lr = 1, .momentum = 0.9}, p, g),
                       doctest::Contains("has no momentum buffer"), Error);
  CHECK_THROWS_WITH_AS(sgd_step({.lr = 1, .nesterov = true}, p, g),
                       doctest::Contains("Nesterov wants a momentum"), Error);
  CHECK_THROWS_WITH_AS(sgd_step({.lr = 1}, p, test::as_slice(g)),
                       doctest::Contains("channel slice"), Error);
  CHECK_THROWS_WITH_AS(adamw_step({.lr = 1}, p, g, p.clone(), {}),
                       doctest::Contains("has no second moment"), Error);
  CHECK_THROWS_WITH_AS(adamw_step({.lr = 1, .step = 0}, p, g, p.clone(), p.clone()),
                       doctest::Contains("steps count from 1"), Error);
  CHECK_THROWS_WITH_AS(sgd_step({.lr = 1}, Tensor::zeros({2}, DType::i32), g),
                       doctest::Contains("is i32, not f32 or f64"), Error);
}
