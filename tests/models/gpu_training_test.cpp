// Whole training runs on a GPU: the CUDA kernels, the trainer, its uploads and its
// checkpoints together, against the same run on the CPU.
//
// Two correct float32 programs differ by rounding, and training makes any difference grow. How much
// is measured: the CPU's run is repeated from weights that differ by a few units in the last place,
// which is what one step's different order of summation does to them. A run on another device may
// leave the CPU's by a small multiple of that; a wrong kernel leaves it by far more (the last test
// checks that it would be seen).
#include <doctest/doctest.h>

#include "engine/io/atomic_file.h"
#include "tests/models/training_runs.h"
#include "tests/support/gpu.h"
#include "tests/support/temp_folder.h"

using namespace thorax;
using test::Distance;
using test::train;
using Setup = test::TrainingSetup;
using Run = test::TrainingRun;

namespace {

const Device kGpu = test::gpu();
// Relative change of the starting weights in the CPU's second run, and how many times further the
// other device may be.
constexpr double kNudge = 0x1p-20, kMultiple = 8;

void check_follows(const Setup& setup) {
  const Run cpu = train(setup, {.device = {}});
  const Run nudged = train(setup, {.device = {}, .nudge = kNudge});
  const Run gpu = train(setup, {.device = kGpu});
  REQUIRE(cpu.losses.size() == 20);
  // The classifier's batches are too few and too different for its loss to tell.
  if (setup.segments) CHECK(cpu.losses.back() < 0.95 * cpu.losses.front());
  const Distance scale = test::distance(nudged, cpu), off = test::distance(gpu, cpu);
  MESSAGE(fmt::format(
      "losses {:.5f} -> {:.5f}; off by {:.1e} (nudged {:.1e}); weights {:.1e} "
      "(nudged {:.1e})",
      cpu.losses.front(), cpu.losses.back(), off.loss, scale.loss, off.weights, scale.weights));
  CHECK(off.loss <= kMultiple * scale.loss);
  CHECK(off.weights <= kMultiple * scale.weights);
  // The first loss has seen no update: only the rounding of one forward pass.
  CHECK(std::abs(gpu.losses[0] - cpu.losses[0]) <= 1e-5 * cpu.losses[0]);
}

}  // namespace

TEST_CASE("a UNet trains on a GPU as on the CPU") {
  check_follows(test::unet_setup());
}

TEST_CASE("an HRNet trains on a GPU as on the CPU") {
  check_follows(test::hrnet_setup());
}

TEST_CASE("a ResNet trains on a GPU as on the CPU") {
  check_follows(test::baseline_setup(test::tiny_resnet("bottleneck")));
}

TEST_CASE("a DenseNet trains on a GPU as on the CPU") {
  nlohmann::json model = test::tiny_densenet();
  model["blocks"] = {2, 2, 1};  // 2 x 2 pixels at the end
  check_follows(test::baseline_setup(model));
}

TEST_CASE("a constant of the optimizer that is off by a hundredth would be seen") {
  Setup wrong = test::unet_setup();
  wrong.optimizer["beta1"] = 0.909;
  const Run cpu = train(test::unet_setup(), {.device = {}});
  const Distance scale =
      test::distance(train(test::unet_setup(), {.device = {}, .nudge = kNudge}), cpu);
  const Distance off = test::distance(train(wrong, {.device = {}}), cpu);
  CHECK(off.weights > 2 * kMultiple * scale.weights);
}

TEST_CASE("training on a GPU: the same bits twice, and after a stop and a resume") {
  test::TempFolder a, b;
  const Run whole = train(test::unet_setup(), {.device = kGpu, .folder = a.path()});
  const Run first =
      train(test::unet_setup(), {.device = kGpu, .folder = b.path(), .interrupt_at = 7});
  CHECK(first.status == TrainResult::Status::interrupted);
  CHECK(first.losses == std::vector(whole.losses.begin(), whole.losses.begin() + 7));
  const Run rest = train(test::unet_setup(), {.device = kGpu, .folder = b.path(), .resume = true});
  CHECK(rest.losses == std::vector(whole.losses.begin() + 7, whole.losses.end()));
  const auto bytes = [](const std::filesystem::path& folder) {
    return read_bytes(folder / "last.safetensors", 1 << 24);
  };
  CHECK(bytes(a.path()) == bytes(b.path()));
}
