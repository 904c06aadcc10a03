// Whole training runs on the simulated GPU: the CUDA kernels, the trainer, its uploads and its
// checkpoints together, against the same run on the CPU.
//
// Two correct float32 programs differ by rounding, and training makes any difference grow. How much
// is measured: the CPU's run is repeated from weights that differ by a few units in the last place,
// which is what one step's different order of summation does to them. A run on another device may
// leave the CPU's by a small multiple of that; a wrong kernel leaves it by far more (the last test
// checks that it would be seen).
#include <doctest/doctest.h>

#include <csignal>

#include "engine/io/atomic_file.h"
#include "engine/runtime/philox.h"
#include "engine/train/trainer.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dice_loss/dice_loss.h"
#include "tests/models/support.h"
#include "tests/support/temp_folder.h"

using namespace thorax;

namespace {

const Device kSim{DeviceKind::sim, 0};
constexpr std::int64_t kSteps = 20;
// Relative change of the starting weights in the CPU's second run, and how many times further the
// other device may be.
constexpr double kNudge = 0x1p-20, kMultiple = 8;

// A bright ellipse in noise, and where it is; batches are a function of the index.
struct Ellipses : BatchSource {
  std::int64_t batch, size, channels;
  Ellipses(std::int64_t n, std::int64_t side, std::int64_t c) : batch(n), size(side), channels(c) {}
  std::int64_t batches_per_epoch() const override { return kSteps / 2; }
  Batch get(std::int64_t epoch, std::int64_t index) override {
    Batch result;
    const Tensor image = test::normals({batch, size, size, channels},
                                       static_cast<std::uint64_t>(1000 * epoch + index));
    const Tensor mask = Tensor::zeros({batch, size, size, 1});
    const Tensor label = Tensor::zeros({batch}, DType::i64);
    Philox random(5, static_cast<std::uint64_t>(1000 * epoch + index));
    for (std::int64_t n = 0; n < batch; ++n) {
      const double side = static_cast<double>(size);
      const double cx = random.uniform(0.3, 0.7) * side, cy = random.uniform(0.3, 0.7) * side;
      const double rx = random.uniform(0.15, 0.3) * side, ry = random.uniform(0.15, 0.3) * side;
      label.data<std::int64_t>()[n] = rx > ry ? 1 : 0;
      for (std::int64_t p = 0; p < size * size; ++p) {
        const double dx = (static_cast<double>(p % size) - cx) / rx;
        const double dy = (static_cast<double>(p / size) - cy) / ry;
        if (dx * dx + dy * dy > 1) continue;
        mask.data<float>()[n * size * size + p] = 1;
        for (std::int64_t c = 0; c < channels; ++c)
          image.data<float>()[(n * size * size + p) * channels + c] += 2;
      }
      result.names.push_back(fmt::format("{}", n));
    }
    result.tensors = {{"image", image}, {"label", label}, {"mask", mask}};
    return result;
  }
};

struct Setup {
  nlohmann::json model;
  std::int64_t batch = 2, size = 32;
  bool segments = true;
  nlohmann::json optimizer;
};

Setup unet() {
  return {{{"model", "unet"}, {"width", 4}, {"depth", 2}},
          2,
          32,
          true,
          {{"name", "adamw"}, {"weight_decay", 1e-4}}};
}
Setup hrnet() {
  nlohmann::json model = test::tiny_hrnet();
  model["outputs"] = 2;
  model["in_channels"] = 1;
  model["layer1_blocks"] = 1;
  // Four images: the coarsest branch has one pixel an image here, and batch norm over two values
  // would only keep which is larger.
  return {model, 4, 32, false, {{"name", "sgd"}, {"momentum", 0.8}}};
}

Setup baseline(nlohmann::json model) {
  model["outputs"] = 2;
  model["in_channels"] = 1;
  return {model, 4, 32, false, {{"name", "sgd"}, {"momentum", 0.8}}};
}

struct Run {
  std::vector<double> losses;
  StateDict weights;  // on the CPU
  TrainResult::Status status = TrainResult::Status::finished;
};

struct Options {
  Device device;
  DType precision = DType::f32;
  double nudge = 0;
  std::filesystem::path folder = {};
  bool resume = false;
  std::int64_t interrupt_at = 0;
};

Run train(const Setup& setup, const Options& o) {
  const std::unique_ptr<Model> model = create_model(setup.model, 3);
  Philox random(9, 9);
  for (const Module::Named& parameter : model->parameters()) {
    const Tensor& value = parameter.variable.value();
    for (std::int64_t i = 0; i < value.numel(); ++i)
      value.data<float>()[i] *= static_cast<float>(1 + o.nudge * random.uniform(-1, 1));
  }
  parameters_changed();
  model->to(o.device);
  const auto optimizer =
      make_optimizer(ConfigObject(setup.optimizer, "optimizer"), model->parameters());
  Ellipses source(setup.batch, setup.size, 1);
  TrainerOptions options;
  options.epochs = 2;
  options.folder = o.folder;
  options.resume = o.resume;
  options.clip_norm = 1;
  if (o.precision == DType::f16) options.loss_scale.emplace();
  ScheduleOptions schedule;
  // Small for the classifier: with large steps its few batches of statistics make it chaotic.
  schedule.lr = setup.segments ? 3e-3 : 1e-3;
  struct Observer : TrainObserver {
    Run run;
    std::int64_t interrupt_at = 0;
    void on_step(const TrainProgress& p) override {
      run.losses.push_back(p.loss);
      if (p.step == interrupt_at) ::raise(SIGINT);
    }
  } observer;
  observer.interrupt_at = o.interrupt_at;
  TrainerCallbacks callbacks;
  callbacks.loss = [&](const Batch& batch) {
    for (const auto& [name, tensor] : batch.tensors) REQUIRE(tensor.device() == o.device);
    const Variable logits = model->logits(Variable(batch.tensors.at("image")), o.precision);
    return setup.segments ? dice_loss(logits, batch.tensors.at("mask"))
                          : cross_entropy(logits, batch.tensors.at("label"));
  };
  Trainer trainer(*model, *optimizer, schedule, source, options, callbacks, &observer);
  observer.run.status = trainer.run().status;
  model->to(Device{});
  for (const auto& [name, tensor] : model->state_dict()) observer.run.weights[name] = tensor;
  return observer.run;
}

// The largest difference of losses, and the relative L2 difference of all weights together.
struct Distance {
  double loss = 0, weights = 0;
};
Distance distance(const Run& a, const Run& b) {
  Distance d;
  REQUIRE(a.losses.size() == b.losses.size());
  for (std::size_t i = 0; i < a.losses.size(); ++i)
    d.loss = std::max(d.loss, std::abs(a.losses[i] - b.losses[i]));
  double difference = 0, norm = 0;
  for (const auto& [name, tensor] : a.weights) {
    if (tensor.dtype() != DType::f32) continue;
    const Tensor delta = tensor.clone(), other = b.weights.at(name).clone();
    scale_(other, -1);
    add_(delta, other);
    difference += sum_of_squares(delta);
    norm += sum_of_squares(tensor);
  }
  d.weights = std::sqrt(difference / norm);
  return d;
}

void check_follows(const Setup& setup) {
  const Run cpu = train(setup, {.device = {}});
  const Run nudged = train(setup, {.device = {}, .nudge = kNudge});
  const Run sim = train(setup, {.device = kSim});
  REQUIRE(cpu.losses.size() == kSteps);
  // The classifier's batches are too few and too different for its loss to tell.
  if (setup.segments) CHECK(cpu.losses.back() < 0.95 * cpu.losses.front());
  const Distance scale = distance(nudged, cpu), off = distance(sim, cpu);
  MESSAGE(fmt::format(
      "losses {:.5f} -> {:.5f}; off by {:.1e} (nudged {:.1e}); weights {:.1e} "
      "(nudged {:.1e})",
      cpu.losses.front(), cpu.losses.back(), off.loss, scale.loss, off.weights, scale.weights));
  CHECK(off.loss <= kMultiple * scale.loss);
  CHECK(off.weights <= kMultiple * scale.weights);
  // The first loss has seen no update: only the rounding of one forward pass.
  CHECK(std::abs(sim.losses[0] - cpu.losses[0]) <= 1e-5 * cpu.losses[0]);
}

}  // namespace

TEST_CASE("a UNet trains on the simulated GPU as on the CPU") {
  check_follows(unet());
}

TEST_CASE("an HRNet trains on the simulated GPU as on the CPU") {
  check_follows(hrnet());
}

TEST_CASE("a ResNet trains on the simulated GPU as on the CPU") {
  check_follows(baseline(test::tiny_resnet("bottleneck")));
}

TEST_CASE("a DenseNet trains on the simulated GPU as on the CPU") {
  nlohmann::json model = test::tiny_densenet();
  model["blocks"] = {2, 2, 1};  // 2 x 2 pixels at the end
  check_follows(baseline(model));
}

TEST_CASE("a constant of the optimizer that is off by a hundredth would be seen") {
  Setup wrong = unet();
  wrong.optimizer["beta1"] = 0.909;
  const Run cpu = train(unet(), {.device = {}});
  const Distance scale = distance(train(unet(), {.device = {}, .nudge = kNudge}), cpu);
  const Distance off = distance(train(wrong, {.device = {}}), cpu);
  CHECK(off.weights > 2 * kMultiple * scale.weights);
}

TEST_CASE("training on the simulated GPU: the same bits twice, and after a stop and a resume") {
  test::TempFolder a, b;
  const Run whole = train(unet(), {.device = kSim, .folder = a.path()});
  const Run first = train(unet(), {.device = kSim, .folder = b.path(), .interrupt_at = 7});
  CHECK(first.status == TrainResult::Status::interrupted);
  CHECK(first.losses == std::vector(whole.losses.begin(), whole.losses.begin() + 7));
  const Run rest = train(unet(), {.device = kSim, .folder = b.path(), .resume = true});
  CHECK(rest.losses == std::vector(whole.losses.begin() + 7, whole.losses.end()));
  const auto bytes = [](const std::filesystem::path& folder) {
    return read_bytes(folder / "last.safetensors", 1 << 24);
  };
  CHECK(bytes(a.path()) == bytes(b.path()));
}
