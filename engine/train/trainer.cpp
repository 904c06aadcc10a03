#include "engine/train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/io/json_text.h"
#include "engine/runtime/device.h"
#include "engine/train/checkpoint.h"
#include "engine/train/trainer_state.h"

namespace thorax {

using nlohmann::json;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

json finite_or_null(double value) {
  return std::isfinite(value) ? json(value) : json(nullptr);
}

std::int64_t checked_batches(BatchSource& source, const TrainerOptions& options) {
  THORAX_CHECK(options.epochs >= 1 && options.accumulate >= 1 && options.max_steps >= 0 &&
                   options.pieces >= 1,
               "[train] {} epochs, {} batches a step of {} pieces, {} steps at most",
               options.epochs, options.accumulate, options.pieces, options.max_steps);
  const std::int64_t batches = source.batches_per_epoch();
  THORAX_CHECK(batches >= 1, "[train] there is no batch in an epoch");
  return batches;
}

std::int64_t limited(std::int64_t steps, std::int64_t limit) {
  return limit > 0 ? std::min(steps, limit) : steps;
}

}  // namespace

Trainer::Trainer(Module& model, Optimizer& optimizer, const ScheduleOptions& schedule,
                 BatchSource& source, TrainerOptions options, TrainerCallbacks callbacks,
                 TrainObserver* observer)
    : model_(model),
      optimizer_(optimizer),
      source_(source),
      options_(std::move(options)),
      callbacks_(std::move(callbacks)),
      observer_(observer),
      batches_(checked_batches(source, options_)),
      steps_per_epoch_((batches_ + batches_a_step() - 1) / batches_a_step()),
      total_steps_(limited(options_.epochs * steps_per_epoch_, options_.max_steps)),
      schedule_(schedule, steps_per_epoch_, total_steps_),
      state_(std::make_unique<State>()) {
  THORAX_CHECK(callbacks_.loss != nullptr, "[train] there is no loss");
  THORAX_CHECK(
      options_.early_stop >= 0 && (options_.early_stop == 0 || !options_.best_metric.empty()),
      "[train] stopping after {} epochs without a better one wants a metric to judge them "
      "by",
      options_.early_stop);
  if (options_.average_decay != 0)
    state_->average =
        std::make_unique<WeightAverage>(optimizer_.parameters(), options_.average_decay);
  if (options_.loss_scale) loss_scale_.emplace(*options_.loss_scale);
  if (options_.ranks == nullptr) {
    state_->alone = one_process();
    options_.ranks = state_->alone.get();
  }
  // Else some of them would have nothing to do.
  THORAX_CHECK(options_.ranks->size() <= batches_a_step(),
               "[train] {} ranks share out steps of {} pieces; as many pieces as ranks are needed",
               options_.ranks->size(), batches_a_step());
}

Trainer::~Trainer() = default;

void Trainer::note(const std::string& name, double value, double weight) {
  THORAX_CHECK(!options_.graph || name == "loss",
               "[train] '{}' cannot be noted by a loss that is replayed as a graph", name);
  if (!std::isfinite(value)) return;
  if (state_->notes != nullptr) return state_->notes->push_back({name, value, weight});
  WeightedSum& sum = state_->sums[name];
  sum.sum += value * weight;
  sum.weight += weight;
}

void Trainer::log(const json& line) {
  if (!state_->log) return;
  state_->log->append(line);
  state_->lines.push_back(line);
}

// Follows from what a checkpoint holds, so that a resumed run stops where an uninterrupted one
// does.
bool Trainer::stopped_early() const {
  return options_.early_stop > 0 && state_->epoch - 1 - state_->best_epoch >= options_.early_stop;
}

// Validation, log, best weights. Leaves the position at the start of the next epoch.
void Trainer::end_epoch() {
  State& s = *state_;
  const AveragedWeights averaged(s.average.get());
  std::map<std::string, double> metrics;
  for (const auto& [name, sum] : s.sums) metrics["train_" + name] = sum.mean();
  // As the schedule has it, so that a resumed run logs it too.
  metrics["lr"] = schedule_.lr(std::max<std::int64_t>(s.step - 1, 0));
  if (callbacks_.validate) {
    const NoGrad no_grad;
    model_.eval();
    for (const auto& [name, value] : callbacks_.validate(s.epoch)) metrics[name] = value;
    model_.train();
    if (callbacks_.epoch_texts) s.texts = callbacks_.epoch_texts();
  }
  json line{{"kind", "epoch"}, {"epoch", s.epoch + 1}, {"step", s.step}};
  for (const auto& [name, value] : metrics) line[name] = finite_or_null(value);
  log(line);
  if (!options_.best_metric.empty()) {
    const auto found = metrics.find(options_.best_metric);
    if (found == metrics.end()) {
      std::string known;
      for (const auto& [name, value] : metrics) known += (known.empty() ? "" : ", ") + name;
      fail("[train] there is no metric '{}' to choose the best epoch by; there are: {}",
           options_.best_metric, known);
    }
    const double value = found->second;
    const bool better =
        !std::isnan(value) &&
        (std::isnan(s.best) || (options_.best_is_higher ? value > s.best : value < s.best));
    if (better) {
      s.best = value;
      s.best_epoch = s.epoch;
      if (!options_.folder.empty()) {
        std::map<std::string, std::string> metadata = s.texts;
        metadata.insert(options_.texts.begin(), options_.texts.end());
        metadata["epoch"] = std::to_string(s.epoch + 1);
        metadata["metric"] = options_.best_metric;
        metadata["value"] = fmt::format("{}", value);
        metadata["config"] = dump_json(options_.config);
        save_model_weights(options_.folder / "best.safetensors", model_.state_dict(), metadata);
      }
    }
  }
  if (observer_ != nullptr) observer_->on_epoch(s.epoch, metrics);
  s.metrics = std::move(metrics);
  s.sums.clear();
  s.batch = 0;
  ++s.epoch;
}

TrainResult Trainer::run() {
  State& s = *state_;
  THORAX_CHECK(s.run_steps == 0 && s.epoch == 0, "[train] a trainer runs once");
  const StopSignal signals;
  const Device device = model_.device();
  const DeviceScope on_device(device);
  s.source = std::make_unique<DeviceBatches>(source_, device);
  if (options_.graph) {
    THORAX_CHECK(!in_pieces() && options_.accumulate == 1,
                 "[train] {} batches a step: only steps of one batch are captured as a graph",
                 batches_a_step());
    s.graph = std::make_unique<GraphStep>(
        optimizer_, device, GraphStep::Options{options_.clip_norm, loss_scale_.has_value()},
        callbacks_.loss);
    if (callbacks_.number_on_device) callbacks_.number_on_device(s.graph->number());
  }
  if (!options_.folder.empty()) restore();
  if (options_.ranks->size() > 1) {
    source_.will_get([this](std::int64_t index) { return mine(index); });
    share_state(/*weights=*/true);
  }
  const auto result = [&](TrainResult::Status status) {
    return TrainResult{status, s.epoch, s.step, s.metrics, s.best, s.best_epoch, stopped_early()};
  };
  Clock::time_point saved = Clock::now();
  std::int64_t saved_step = s.step;
  model_.train();
  optimizer_.zero_grad();
  while (s.epoch < options_.epochs && (s.step < total_steps_ || s.batch > 0) && !stopped_early()) {
    while (s.batch < batches_ && s.step < total_steps_) {
      const Clock::time_point start = Clock::now();
      const double lr = schedule_.lr(s.step);
      s.graph ? graph_step(lr) : in_pieces() ? piece_step(lr) : train_step(lr);
      s.train_seconds += seconds_since(start);
      if (options_.log_steps)
        log({{"kind", "step"},
             {"epoch", s.epoch + 1},
             {"step", s.step},
             {"loss", finite_or_null(s.loss)},
             {"lr", s.lr}});
      if (observer_ != nullptr) {
        const auto mean = s.sums.find("loss");
        TrainProgress p{s.epoch,
                        options_.epochs,
                        s.batch,
                        batches_,
                        s.step,
                        total_steps_,
                        s.loss,
                        mean == s.sums.end() ? s.loss : mean->second.mean(),
                        s.lr,
                        s.grad_norm,
                        loss_scale_ ? loss_scale_->scale() : 1.0,
                        s.samples};
        p.samples_per_second = static_cast<double>(s.run_samples) / std::max(s.train_seconds, 1e-9);
        p.seconds_left = static_cast<double>(total_steps_ - s.step) * s.train_seconds /
                         static_cast<double>(s.run_steps);
        observer_->on_step(p);
      }
      if (stopping()) {
        save();
        return result(TrainResult::Status::interrupted);
      }
      const bool by_steps =
          options_.checkpoint_steps > 0 && s.step - saved_step >= options_.checkpoint_steps;
      const bool by_time =
          options_.checkpoint_seconds > 0 && seconds_since(saved) >= options_.checkpoint_seconds;
      if ((by_steps || by_time) && s.batch < batches_) {
        save();
        saved = Clock::now();
        saved_step = s.step;
      }
    }
    bool interrupted = false;
    try {
      if (first_rank()) end_epoch();
    } catch (const Interrupted&) {
      model_.train();
      interrupted = true;
    }
    save();
    saved = Clock::now();
    saved_step = s.step;
    if (stop_requested() && s.epoch < options_.epochs && s.step < total_steps_ && !stopped_early())
      interrupted = true;
    if (options_.ranks->size() > 1) share_state(/*weights=*/false, &interrupted);
    if (interrupted) return result(TrainResult::Status::interrupted);
  }
  if (s.average) s.average->exchange();
  return result(TrainResult::Status::finished);
}

}  // namespace thorax
