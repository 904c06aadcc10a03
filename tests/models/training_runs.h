// Small training runs for tests of models: made-up images, the trainer, and how far two runs are
// apart.
#pragma once

#include <doctest/doctest.h>

#include <csignal>
#include <functional>
#include <optional>

#include "engine/runtime/philox.h"
#include "engine/train/trainer.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dice_loss/dice_loss.h"
#include "tests/models/support.h"

namespace thorax::test {

// A bright ellipse in noise, and where it is; batches are a function of their number.
struct Ellipses : BatchSource {
  std::int64_t batch, size, channels, batches, first;
  Ellipses(std::int64_t n, std::int64_t side, std::int64_t c, std::int64_t an_epoch,
           std::int64_t first_number)
      : batch(n), size(side), channels(c), batches(an_epoch), first(first_number) {}
  std::int64_t batches_per_epoch() const override { return batches; }
  Batch get(std::int64_t epoch, std::int64_t index) override {
    Batch result;
    const auto number = static_cast<std::uint64_t>(1000 * epoch + index + first);
    const Tensor image = normals({batch, size, size, channels}, number);
    const Tensor mask = Tensor::zeros({batch, size, size, 1});
    const Tensor label = Tensor::zeros({batch}, DType::i64);
    Philox random(5, number);
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

struct TrainingSetup {
  nlohmann::json model;
  std::int64_t batch = 2, size = 32;
  bool segments = true;
  nlohmann::json optimizer;
  // Small for classifiers: with large steps their few batches of statistics make them chaotic.
  double learning_rate = segments ? 3e-3 : 1e-3;
  std::int64_t epochs = 2, batches = 10;  // of an epoch
};

inline TrainingSetup unet_setup() {
  return {{{"model", "unet"}, {"width", 4}, {"depth", 2}},
          2,
          32,
          true,
          {{"name", "adamw"}, {"weight_decay", 1e-4}}};
}
inline TrainingSetup hrnet_setup() {
  nlohmann::json model = tiny_hrnet();
  model["outputs"] = 2;
  model["in_channels"] = 1;
  model["layer1_blocks"] = 1;
  // Four images: the coarsest branch has one pixel an image here, and batch norm over two values
  // would only keep which is larger.
  return {model, 4, 32, false, {{"name", "sgd"}, {"momentum", 0.8}}};
}

inline TrainingSetup baseline_setup(nlohmann::json model) {
  model["outputs"] = 2;
  model["in_channels"] = 1;
  return {model, 4, 32, false, {{"name", "sgd"}, {"momentum", 0.8}}};
}

struct TrainingRun {
  std::vector<double> losses;
  StateDict start, weights;  // before and after; on the CPU
  TrainResult::Status status = TrainResult::Status::finished;
  std::vector<double> scales;  // the loss scale after each step
};

struct TrainingOptions {
  Device device;
  DType precision = DType::f32;
  double nudge = 0;  // relative change of the starting weights
  std::uint64_t nudge_seed = 9;
  std::filesystem::path folder = {};
  bool resume = false;
  std::int64_t interrupt_at = 0;
  std::int64_t first_batch = 0;  // of each epoch
  std::optional<LossScaleOptions> loss_scale = {};
  std::function<void(const Model&, const TrainProgress&)> on_step = {};
};

inline TrainingRun train(const TrainingSetup& setup, const TrainingOptions& o) {
  const std::unique_ptr<Model> model = create_model(setup.model, 3);
  Philox random(o.nudge_seed, 9);
  for (const Module::Named& parameter : model->parameters()) {
    const Tensor& value = parameter.variable.value();
    for (std::int64_t i = 0; i < value.numel(); ++i)
      value.data<float>()[i] *= static_cast<float>(1 + o.nudge * random.uniform(-1, 1));
  }
  parameters_changed();
  StateDict start;
  for (const auto& [name, tensor] : model->state_dict()) start[name] = tensor.clone();
  model->to(o.device);
  const auto optimizer =
      make_optimizer(ConfigObject(setup.optimizer, "optimizer"), model->parameters());
  Ellipses source(setup.batch, setup.size, 1, setup.batches, o.first_batch);
  TrainerOptions options;
  options.epochs = setup.epochs;
  options.folder = o.folder;
  options.resume = o.resume;
  options.clip_norm = 1;
  options.loss_scale = o.loss_scale;
  if (o.precision == DType::f16 && !o.loss_scale) options.loss_scale.emplace();
  ScheduleOptions schedule;
  schedule.lr = setup.learning_rate;
  struct Observer : TrainObserver {
    TrainingRun run;
    const TrainingOptions& o;
    const Model& model;
    Observer(const TrainingOptions& options, const Model& m) : o(options), model(m) {}
    void on_step(const TrainProgress& p) override {
      run.losses.push_back(p.loss);
      run.scales.push_back(p.loss_scale);
      if (o.on_step) o.on_step(model, p);
      if (p.step == o.interrupt_at) ::raise(SIGINT);
    }
  } observer(o, *model);
  TrainerCallbacks callbacks;
  callbacks.loss = [&](const Batch& batch) {
    for ([[maybe_unused]] const auto& [name, tensor] : batch.tensors)
      REQUIRE(tensor.device() == o.device);
    const Variable logits = model->logits(Variable(batch.tensors.at("image")), o.precision);
    return setup.segments ? dice_loss(logits, batch.tensors.at("mask"))
                          : cross_entropy(logits, batch.tensors.at("label"));
  };
  Trainer trainer(*model, *optimizer, schedule, source, options, callbacks, &observer);
  observer.run.start = start;
  observer.run.status = trainer.run().status;
  model->to(Device{});
  for (const auto& [name, tensor] : model->state_dict()) observer.run.weights[name] = tensor;
  return observer.run;
}

// The largest difference of losses, and the relative L2 difference of all weights together.
struct Distance {
  double loss = 0, weights = 0;
};
inline Distance distance(const TrainingRun& a, const TrainingRun& b) {
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

}  // namespace thorax::test
