// Whole training runs in 16 bits on a GPU: every operation that the networks and losses
// meet, float32 master weights, dynamic loss scaling, against the same run in float32 on the CPU.
// Compared are the losses, and the way that the parameters went from start to end.
//
// How far such a run may be from float32 is measured, not guessed. One rounding of a layer's filter
// to a type with unit u is a relative change of at most u of each of its elements, and a float32
// run from weights changed that much (uniformly in [-u, u], as roundings are) is a run with that
// one rounding in every layer. A 16-bit run has about eight where this one has one: filter, the
// convolution's result, the batch norm's or the sum's, the pooled or resampled one, and the same
// again on the way back. They are independent, so they add up to sqrt(8) < 3 times the effect of
// one. The largest of three such runs is taken, which is a sample, too: 4 times that is allowed. u
// is 2^-11 in float16 and 2^-8 in bfloat16.
// A learning rate that is off by a half leaves the bound of float16 (last but one test).
#include <doctest/doctest.h>

#include "tests/models/training_runs.h"
#include "tests/support/gpu.h"

using namespace thorax;
using test::Distance;
using test::train;
using test::TrainingRun;
using test::TrainingSetup;

namespace {

constexpr double kMultiple = 4;

double unit_of(DType precision) {
  return precision == DType::f16 ? 0x1p-11 : 0x1p-8;
}

// float16: the first scale is too large on purpose, whatever the network; the step is left out and
// the scale falls to one that fits, then rises every fifth step.
LossScaleOptions too_large() {
  LossScaleOptions options;
  options.initial = options.largest = 0x1p30;
  options.backoff = 0x1p-16;
  options.interval = 5;
  return options;
}

// |difference| / |b's way| of the parameters, and the largest difference of losses.
Distance way_apart(const TrainingRun& a, const TrainingRun& b) {
  Distance d;
  REQUIRE(a.losses.size() == b.losses.size());
  for (std::size_t i = 0; i < a.losses.size(); ++i)
    d.loss = std::max(d.loss, std::abs(a.losses[i] - b.losses[i]));
  double difference = 0, length = 0;
  for (const auto& [name, end] : b.weights) {
    // A step that is left out has still moved the batch norms' averages.
    if (end.dtype() != DType::f32 || name.find("running_") != std::string::npos) continue;
    const auto at = [&name](const StateDict& dict) { return dict.at(name).data<float>(); };
    for (std::int64_t i = 0; i < end.numel(); ++i) {
      const double way = double(at(b.weights)[i]) - at(b.start)[i];
      const double other = double(at(a.weights)[i]) - at(a.start)[i];
      difference += (way - other) * (way - other);
      length += way * way;
    }
  }
  d.weights = std::sqrt(difference / length);
  return d;
}

std::vector<std::vector<float>> values_of(const Model& model) {
  std::vector<std::vector<float>> values;
  for (const Module::Named& parameter : model.parameters()) {
    const Tensor here = parameter.variable.value().to(Device{});
    values.emplace_back(here.data<float>(), here.data<float>() + here.numel());
  }
  return values;
}

// The float32 run on the CPU, and the largest effect of changing its starting weights by u.
struct Wanted {
  TrainingRun run;
  Distance allowed;
};
Wanted float32_run(const TrainingSetup& setup, double unit, std::int64_t first_batch) {
  Wanted wanted{train(setup, {.device = {}, .first_batch = first_batch}), {}};
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Distance d = way_apart(
        train(setup, {.device = {}, .nudge = unit, .nudge_seed = seed, .first_batch = first_batch}),
        wanted.run);
    wanted.allowed.loss = std::max(wanted.allowed.loss, kMultiple * d.loss);
    wanted.allowed.weights = std::max(wanted.allowed.weights, kMultiple * d.weights);
  }
  return wanted;
}

void report(DType precision, const Distance& off, const Wanted& wanted) {
  MESSAGE(
      fmt::format("{}: losses {:.4f} -> {:.4f}; off by {:.1e} (allowed {:.1e}); weights {:.1e} "
                  "(allowed {:.1e})",
                  name_of(precision), wanted.run.losses.front(), wanted.run.losses.back(), off.loss,
                  wanted.allowed.loss, off.weights, wanted.allowed.weights));
  CHECK(off.loss <= wanted.allowed.loss);
  CHECK(off.weights <= wanted.allowed.weights);
}

// bfloat16 has float32's range: no loss scale.
void check_bfloat16(TrainingSetup setup) {
  if (test::gpu_is_older(1)) return;
  const Wanted wanted = float32_run(setup, unit_of(DType::bf16), 0);
  const TrainingRun run = train(setup, {.device = test::gpu(1), .precision = DType::bf16});
  report(DType::bf16, way_apart(run, wanted.run), wanted);
}

// On sm_75. The step that overflows uses up a batch and changes nothing else: what follows is the
// CPU's run from the second batch on.
void check_float16(TrainingSetup setup) {
  const std::int64_t steps = setup.batches;
  setup.batches = steps - 1;
  const Wanted wanted = float32_run(setup, unit_of(DType::f16), 1);
  setup.batches = steps;
  std::vector<std::vector<float>> skipped;
  TrainingRun run = train(setup, {.device = test::gpu(),
                                  .precision = DType::f16,
                                  .loss_scale = too_large(),
                                  .on_step = [&](const Model& model, const TrainProgress& p) {
                                    if (p.step == 1) skipped = values_of(model);
                                  }});
  REQUIRE(std::ssize(run.losses) == steps);
  CHECK(skipped == values_of(*create_model(setup.model, 3)));
  std::vector<double> scales(run.losses.size(), 0x1p14);
  for (std::size_t i = 5; i < scales.size(); ++i) scales[i] = 0x1p15;  // after five good steps
  CHECK(run.scales == scales);
  run.losses.erase(run.losses.begin());
  report(DType::f16, way_apart(run, wanted.run), wanted);
}

TrainingSetup one_epoch(TrainingSetup setup, std::int64_t steps) {
  setup.epochs = 1;
  setup.batches = steps;
  return setup;
}
TrainingSetup unet() {
  return one_epoch(test::unet_setup(), 10);
}
TrainingSetup resnet() {
  return one_epoch(test::baseline_setup(test::tiny_resnet("bottleneck")), 10);
}
TrainingSetup densenet() {
  nlohmann::json model = test::tiny_densenet();
  model["blocks"] = {2, 2, 1};  // 2 x 2 pixels at the end
  return one_epoch(test::baseline_setup(model), 10);
}
// Two images of 64 x 64: eight values a channel in the coarsest branch. With the four that 32 x 32
// would leave, batch norms make the gradient follow any rounding.
TrainingSetup hrnet() {
  TrainingSetup setup = one_epoch(test::hrnet_setup(), 7);
  setup.batch = 2;
  setup.size = 64;
  setup.model["stages"][2]["blocks"] = 1;
  setup.model["head_planes"] = {2, 2, 2, 2};
  setup.model["features"] = 8;
  return setup;
}

}  // namespace

TEST_CASE("float16 on a GPU: a UNet follows float32, an overflow is skipped") {
  check_float16(unet());
}
TEST_CASE("float16 on a GPU: an HRNet follows float32, an overflow is skipped") {
  check_float16(hrnet());
}
TEST_CASE("float16 on a GPU: a ResNet follows float32, an overflow is skipped") {
  check_float16(resnet());
}
TEST_CASE("float16 on a GPU: a DenseNet follows float32, an overflow is skipped") {
  check_float16(densenet());
}

TEST_CASE("bfloat16 on a GPU: a UNet follows float32") {
  check_bfloat16(unet());
}
TEST_CASE("bfloat16 on a GPU: an HRNet follows float32") {
  check_bfloat16(hrnet());
}
TEST_CASE("bfloat16 on a GPU: a ResNet follows float32") {
  check_bfloat16(resnet());
}
TEST_CASE("bfloat16 on a GPU: a DenseNet follows float32") {
  check_bfloat16(densenet());
}

TEST_CASE("float16: a learning rate that is off by a half leaves the bound") {
  for (TrainingSetup setup : {unet(), resnet(), densenet()}) {
    const Wanted wanted = float32_run(setup, unit_of(DType::f16), 0);
    setup.learning_rate *= 1.5;
    const Distance off = way_apart(train(setup, {.device = {}}), wanted.run);
    CHECK(off.loss > wanted.allowed.loss);
    CHECK(off.weights > wanted.allowed.weights);
  }
}

TEST_CASE("bfloat16 on sm_75: an error names the first layer") {
  CHECK_THROWS_WITH_AS(
      train(unet(), {.device = {DeviceKind::sim, 0}, .precision = DType::bf16}),
      doctest::Contains("[conv2d] no provider on sim supports 2x32x32x1 * 4x3x3x1"), Error);
}
