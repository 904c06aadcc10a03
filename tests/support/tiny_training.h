// A training run small enough for a test: two linear layers, dropout, a buffer, made-up batches.
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/nn/init.h"
#include "engine/train/trainer.h"
#include "kernels/activation/activation.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dropout/dropout.h"
#include "kernels/linear/linear.h"
#include "tests/support/check.h"

namespace thorax::test {

struct TinyNet : Module {
  Variable w1 = add_parameter("fc1.weight", Tensor::empty({16, 8}));
  Variable b1 = add_parameter("fc1.bias", Tensor::zeros({16}));
  Variable w2 = add_parameter("fc2.weight", Tensor::empty({1, 16}));
  Variable b2 = add_parameter("fc2.bias", Tensor::zeros({1}));
  Tensor running = add_host_buffer("running_mean", Tensor::zeros({1}));
  std::uint64_t number = 0;

  TinyNet() {
    init_xavier_uniform(w1.value(), 3, "fc1.weight");
    init_xavier_uniform(w2.value(), 3, "fc2.weight");
  }
  Variable forward(const Tensor& x) {
    Variable h = relu(linear(Variable(x), w1, b1));
    h = dropout(h, 0.25, training(), 7, number);
    if (training()) {
      float* mean = running.data<float>();
      *mean = 0.9f * *mean + 0.1f * h.value().to(Device{}).data<float>()[0];
    }
    return linear(h, w2, b2);
  }
};

// Batches of `size` samples; everything a function of (epoch, index).
struct TinySource : BatchSource {
  std::int64_t batches = 5, size = 4;
  std::function<void(Batch&, std::int64_t epoch, std::int64_t index)> change;

  std::int64_t batches_per_epoch() const override { return batches; }
  Batch get(std::int64_t epoch, std::int64_t index) override {
    Batch batch;
    const auto key = static_cast<std::uint64_t>(epoch * 1000 + index);
    const Tensor x = normals({size, 8}, key);
    const Tensor y = Tensor::zeros({size, 1});
    for (std::int64_t i = 0; i < size; ++i) {
      const float* row = x.data<float>() + i * 8;
      y.data<float>()[i] = row[0] + row[1] > row[2] ? 1.f : 0.f;
      batch.names.push_back(fmt::format("e{}b{}i{}.png", epoch, index, i));
    }
    batch.tensors["image"] = x;
    batch.tensors["label"] = y;
    if (change) change(batch, epoch, index);
    return batch;
  }
};

struct TinyObserver : TrainObserver {
  std::function<void(const TrainProgress&)> step;
  std::function<void(std::int64_t, const std::map<std::string, double>&)> epoch;
  std::vector<std::string> messages;
  void on_step(const TrainProgress& p) override {
    if (step) step(p);
  }
  void on_epoch(std::int64_t e, const std::map<std::string, double>& m) override {
    if (epoch) epoch(e, m);
  }
  void on_message(const std::string& text) override { messages.push_back(text); }
  bool told(const std::string& part) const {
    for (const std::string& text : messages)
      if (text.find(part) != std::string::npos) return true;
    return false;
  }
};

// On the CPU; after net.to(device) on that.
struct TinyRun {
  TinyNet net;
  TinySource source;
  TinyObserver observer;
  TrainerOptions options;
  SgdOptions sgd{.momentum = 0.8, .weight_decay = 1e-4};
  ScheduleOptions schedule;
  std::function<std::map<std::string, double>(std::int64_t)> validate;
  std::function<std::map<std::string, std::string>()> epoch_texts;

  explicit TinyRun(const std::filesystem::path& folder, bool resume = false) {
    options.epochs = 4;
    options.folder = folder;
    options.resume = resume;
    options.log_steps = true;
    options.best_metric = "score";
    options.config = {{"model", "tiny"}, {"data", {{"size", 8}}}};
    schedule.kind = ScheduleOptions::Kind::cosine;
    schedule.unit = ScheduleOptions::Unit::steps;
    schedule.lr = 0.1;
    // Depends on the weights, as a validation does.
    validate = [this](std::int64_t) {
      const Tensor x = normals({16, 8}, 99).to(net.device());
      double sum = 0;
      const Tensor y = net.forward(x).value().to(Device{});
      for (int i = 0; i < 16; ++i) sum += y.data<float>()[i];
      return std::map<std::string, double>{{"score", sum}};
    };
  }

  TrainResult run() {
    Sgd optimizer(net.parameters(), sgd);
    Trainer* self = nullptr;
    TrainerCallbacks callbacks;
    callbacks.loss = [this, &self](const Batch& batch) {
      const Variable y = net.forward(batch.tensors.at("image"));
      self->note("mean_logit", y.value().to(Device{}).data<float>()[0], 2);
      return bce_with_logits(y, batch.tensors.at("label"));
    };
    callbacks.validate = validate;
    callbacks.epoch_texts = epoch_texts;
    callbacks.prepare = [this](std::uint64_t number) { net.number = number; };
    Trainer trainer(net, optimizer, schedule, source, options, callbacks, &observer);
    self = &trainer;
    return trainer.run();
  }
};

}  // namespace thorax::test
