// Providers of the fused SGD and AdamW steps (contract: engine/optim/step.h).
#include <doctest/doctest.h>

#include "engine/optim/step.h"
#include "tests/support/check.h"
#include "tests/support/device.h"
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

State here(const State& s) {
  return {s.parameter.to(Device{}), s.first.to(Device{}),
          s.second.defined() ? s.second.to(Device{}) : Tensor{}};
}

State sgd(const SgdStepProvider& provider, const SgdStep& step, std::int64_t size,
          DType dtype = DType::f32) {
  const auto on = [&](const Tensor& t) { return test::on(provider.device, t); };
  const ProviderScope scope("sgd", provider.name);
  // A first step must not read the buffer.
  const State s{on(test::normals({size}, 1, dtype)),
                on(step.first ? test::poisoned({size}, dtype) : test::normals({size}, 2, dtype)),
                {}};
  sgd_step(step, s.parameter, on(test::normals({size}, 3, dtype)), s.first);
  return here(s);
}

Tensor squares(std::int64_t size, std::uint64_t seed, DType dtype) {
  const Tensor t = test::normals({size}, seed, DType::f64);
  for (std::int64_t i = 0; i < size; ++i) t.data<double>()[i] = std::abs(t.data<double>()[i]);
  return t.to(dtype);
}

State adamw(const AdamWStepProvider& provider, const AdamWStep& step, std::int64_t size,
            DType dtype = DType::f32) {
  const auto on = [&](const Tensor& t) { return test::on(provider.device, t); };
  const ProviderScope scope("adamw", provider.name);
  const State s{on(test::normals({size}, 1, dtype)), on(test::normals({size}, 2, dtype)),
                on(squares(size, 4, dtype))};
  adamw_step(step, s.parameter, on(test::normals({size}, 3, dtype)), s.first, s.second);
  return here(s);
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
  const SgdStepProvider& reference = sgd_step_providers().named("reference");
  for (const std::int64_t size : kSizes) {
    for (const SgdStep& step : kSgdSteps) {
      const State wanted = sgd(reference, step, size);
      const State exact = sgd(reference, step, size, DType::f64);
      for (const SgdStepProvider& provider : sgd_step_providers().all()) {
        CAPTURE(provider.name);
        CAPTURE(step.to_string());
        // Values are below 6 (normal draws), a step adds at most four terms of that size.
        const double bound = 8 * kRounding * 6;
        const State got = sgd(provider, step, size);
        CHECK(test::difference(got.parameter, wanted.parameter, bound).worst <= 1);
        if (step.momentum != 0) CHECK(test::difference(got.first, wanted.first, bound).worst <= 1);
        const State wide = sgd(provider, step, size, DType::f64);
        CHECK(test::difference(wide.parameter, exact.parameter, 1e-14).worst <= 1);
      }
    }
  }
}

TEST_CASE("every AdamW provider against the reference") {
  const AdamWStepProvider& reference = adamw_step_providers().named("reference");
  for (const std::int64_t size : kSizes) {
    for (const AdamWStep& step : kAdamWSteps) {
      const State wanted = adamw(reference, step, size);
      const State exact = adamw(reference, step, size, DType::f64);
      for (const AdamWStepProvider& provider : adamw_step_providers().all()) {
        CAPTURE(provider.name);
        CAPTURE(step.to_string());
        const State got = adamw(provider, step, size);
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
        const State wide = adamw(provider, step, size, DType::f64);
        CHECK(test::difference(wide.parameter, exact.parameter, 1e-13, 1e-12).worst <= 1);
      }
    }
  }
}

namespace {

// More tensors than one launch takes, of many sizes: none, less than a vector, over a block's end,
// not aligned; two types, and a step of its own for each.
template <class Update, class Step>
std::vector<Update> many(DeviceKind kind, const std::vector<Step>& steps) {
  std::vector<Update> updates;
  std::uint64_t seed = 10;
  for (int i = 0; i < 150; ++i) {
    const std::int64_t size = i == 77 ? 9001 : i == 3 ? 0 : 1 + i * 7 % 23;
    const DType dtype = i % 10 == 9 ? DType::f64 : DType::f32;
    const auto make = [&](bool positive) {
      const Tensor t =
          positive ? squares(size + 1, ++seed, dtype) : test::normals({size + 1}, ++seed, dtype);
      return test::on(kind, t).batch_slice(i % 3 == 0 ? 1 : 0, size);
    };
    Update u{};
    u.step = steps[static_cast<std::size_t>(i) % steps.size()];
    u.parameter = make(false);
    u.grad = make(false);
    if constexpr (std::is_same_v<Update, SgdUpdate>) {
      if (u.step.momentum != 0) u.momentum = make(false);
    } else {
      u.exp_avg = make(false);
      u.exp_avg_sq = make(true);
    }
    updates.push_back(u);
  }
  return updates;
}

template <class Providers, class Update, class Step>
void check_many(const char* op, const Providers& providers, const std::vector<Step>& steps) {
  const auto run = [](const std::vector<Update>& updates, const Tensor& flag) {
    if constexpr (std::is_same_v<Update, SgdUpdate>)
      sgd_step(updates, flag);
    else
      adamw_step(updates, flag);
  };
  for (const auto& provider : providers.all()) {
    CAPTURE(provider.name);
    const ProviderScope scope(op, provider.name);
    const auto one_by_one = many<Update>(provider.device, steps);
    for (const Update& u : one_by_one) run({u}, {});
    const Device device{provider.device, 0};
    test::in_every_thread_order([&] {
      const auto together = many<Update>(provider.device, steps);
      run(together, Tensor::zeros({1}, DType::i32, device));
      for (std::size_t i = 0; i < together.size(); ++i) {
        CAPTURE(i);
        REQUIRE(test::same_bits(together[i].parameter, one_by_one[i].parameter));
        if constexpr (std::is_same_v<Update, AdamWUpdate>) {
          REQUIRE(test::same_bits(together[i].exp_avg, one_by_one[i].exp_avg));
          REQUIRE(test::same_bits(together[i].exp_avg_sq, one_by_one[i].exp_avg_sq));
        } else if (together[i].momentum.defined()) {
          REQUIRE(test::same_bits(together[i].momentum, one_by_one[i].momentum));
        }
      }
    });
    const auto skipped = many<Update>(provider.device, steps);
    const auto before = many<Update>(provider.device, steps);
    run(skipped, Tensor::full({1}, 1, DType::i32, device));
    for (std::size_t i = 0; i < skipped.size(); ++i) {
      REQUIRE(test::same_bits(skipped[i].parameter, before[i].parameter));
      if constexpr (std::is_same_v<Update, AdamWUpdate>)
        REQUIRE(test::same_bits(skipped[i].exp_avg_sq, before[i].exp_avg_sq));
    }
  }
}

}  // namespace

TEST_CASE("many parameters in one step: the bits of one step each; a flag skips them all") {
  check_many<Registry<SgdStepProvider>, SgdUpdate>("sgd", sgd_step_providers(), kSgdSteps);
  check_many<Registry<AdamWStepProvider>, AdamWUpdate>("adamw", adamw_step_providers(),
                                                       kAdamWSteps);
}

TEST_CASE("optimizer steps cpu: 1 and 2 threads give the same bits") {
  const std::int64_t size = 100003;
  const auto run_sgd = [&] {
    return sgd(sgd_step_providers().named("cpu"), kSgdSteps[3], size).parameter;
  };
  CHECK(test::same_values(test::with_threads(1, run_sgd), test::with_threads(2, run_sgd)));
  const auto run_adamw = [&] {
    return adamw(adamw_step_providers().named("cpu"), kAdamWSteps[1], size).parameter;
  };
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
        const auto on = [&](const Tensor& t) { return test::on(provider.device, t); };
        const Tensor p = on(fill(5, 3, 4, dtype)), m = on(test::poisoned({5}, dtype));
        for (int k = 0; k < 3; ++k) {
          SgdStep step = g.step;
          step.first = k == 0;
          sgd_step(step, p, on(fill(5, 5 + k, 2, dtype)), m);
        }
        CHECK(test::difference(p.to(Device{}).to(DType::f64), Tensor::from(g.parameter, {5}), bound)
                  .worst <= 1);
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
        const auto on = [&](const Tensor& t) { return test::on(provider.device, t); };
        const Tensor p = on(fill(5, 3, 4, dtype)), m = on(Tensor::zeros({5}, dtype)),
                     v = on(Tensor::zeros({5}, dtype));
        for (int k = 0; k < 3; ++k) {
          AdamWStep step = g.step;
          step.step = k + 1;
          adamw_step(step, p, on(fill(5, 5 + k, 2, dtype)), m, v);
        }
        CHECK(test::difference(p.to(Device{}).to(DType::f64), Tensor::from(g.parameter, {5}), bound)
                  .worst <= 1);
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
  const std::vector<SgdUpdate> split{
      {{.lr = 1}, p, g, {}},
      {{.lr = 1}, test::on(DeviceKind::sim, p), test::on(DeviceKind::sim, g), {}}};
  CHECK_THROWS_WITH_AS(sgd_step(split), "[sgd] parameters on cpu and on sim:0 in one step", Error);
  CHECK_THROWS_WITH_AS(sgd_step(std::span(split).first(1), Tensor::zeros({1})),
                       doctest::Contains("must be one i32 on cpu, got 1 f32 on cpu"), Error);
  CHECK_THROWS_WITH_AS(sgd_step({.lr = 1}, Tensor::zeros({2}, DType::i32), g),
                       doctest::Contains("is i32, not f32 or f64"), Error);
}
