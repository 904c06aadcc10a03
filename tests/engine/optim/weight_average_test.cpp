#include "engine/optim/weight_average.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/support/check.h"
#include "tests/support/gpu.h"

using namespace thorax;

namespace {

struct Weights : Module {
  Variable a = add_parameter("a", Tensor::empty({3, 1366}));  // more than one block of a GPU
  Variable b = add_parameter("b", Tensor::empty({5}, DType::f64));
  Variable none = add_parameter("none", Tensor::empty({0}));
};

// What training might make of them after `step` steps.
void set(const Weights& w, std::int64_t step) {
  const Tensor a = test::normals({3, 1366}, static_cast<std::uint64_t>(step));
  const Tensor b = test::normals({5}, static_cast<std::uint64_t>(100 + step)).to(DType::f64);
  w.a.value().copy_from(a);
  w.b.value().copy_from(b);
}

void check_follows_the_formula(Device device) {
  Weights w;
  set(w, 0);
  double expected_a = w.a.value().data<float>()[4097], expected_b = w.b.value().data<double>()[4];
  w.to(device);
  constexpr double kDecay = 0.4;
  WeightAverage average(w.parameters(), kDecay);
  for (std::int64_t n = 1; n <= 12; ++n) {
    set(w, n);
    average.update();
    const auto count = static_cast<double>(n);
    const double d = std::min(kDecay, (1 + count) / (10 + count));
    expected_a = d * expected_a + (1 - d) * w.a.value().to(Device{}).data<float>()[4097];
    expected_b = d * expected_b + (1 - d) * w.b.value().to(Device{}).data<double>()[4];
  }
  CHECK(average.updates() == 12);
  const StateDict averages = average.averages();
  CHECK(averages.at("a").to(Device{}).data<float>()[4097] ==
        doctest::Approx(expected_a).epsilon(1e-6));
  CHECK(averages.at("b").to(Device{}).data<double>()[4] ==
        doctest::Approx(expected_b).epsilon(1e-14));
  const Tensor weight = w.a.value().clone(), mean = averages.at("a").clone();
  {
    const AveragedWeights averaged(&average);
    CHECK(test::same_values(w.a.value().to(Device{}), mean.to(Device{})));
    CHECK(test::same_values(average.averages().at("a").to(Device{}), weight.to(Device{})));
  }
  CHECK(test::same_values(w.a.value().to(Device{}), weight.to(Device{})));
  CHECK(test::same_values(average.averages().at("a").to(Device{}), mean.to(Device{})));
}

}  // namespace

TEST_CASE("the moving average of weights follows its formula on every device") {
  check_follows_the_formula({});
  check_follows_the_formula(test::gpu());
}

TEST_CASE("a run that goes on has averages and weights of before; wrong ones are refused") {
  Weights w, other;
  set(w, 0);
  WeightAverage average(w.parameters(), 0.9);
  set(w, 1);
  average.update();
  set(other, 7);
  WeightAverage again(other.parameters(), 0.9);
  again.restore(average.averages(), average.weights(), average.updates());
  CHECK(again.updates() == 1);
  for (WeightAverage* one : {&average, &again}) {
    set(one == &average ? w : other, 2);
    one->update();
  }
  CHECK(test::same_values(average.averages().at("a"), again.averages().at("a")));
  StateDict lacking = average.averages();
  lacking.erase("b");
  CHECK_THROWS_WITH_AS(again.restore(lacking, average.weights(), 1),
                       doctest::Contains("'b' is missing among the averaged weights"), Error);
  for (const double decay : {0.0, 1.0, -1.0})
    CHECK_THROWS_WITH_AS(WeightAverage(w.parameters(), decay), doctest::Contains("[average]"),
                         Error);
}
