#include "engine/train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <new>

#include "engine/io/atomic_file.h"
#include "engine/io/json_lines.h"
#include "engine/io/json_text.h"
#include "engine/runtime/device.h"
#include "engine/train/checkpoint.h"
#include "engine/train/device_batches.h"
#include "engine/train/graph_step.h"

namespace thorax {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::int64_t samples_of(const Batch& batch) {
  if (!batch.names.empty()) return static_cast<std::int64_t>(batch.names.size());
  for (const auto& [name, tensor] : batch.tensors)
    if (tensor.rank() > 0) return tensor.size(0);
  return 0;
}

json finite_or_null(double value) {
  return std::isfinite(value) ? json(value) : json(nullptr);
}

// Hexadecimal floating point: exact, NaN and infinity included.
std::string exact(double value) {
  return fmt::format("{:a}", value);
}
double exact(const json& text) {
  return std::strtod(text.get_ref<const std::string&>().c_str(), nullptr);
}

struct Sum {
  double sum = 0, weight = 0;
  double mean() const {
    return weight > 0 ? sum / weight : std::numeric_limits<double>::quiet_NaN();
  }
};

}  // namespace

struct Trainer::State {
  // What a checkpoint holds beside tensors.
  std::int64_t epoch = 0, batch = 0, step = 0;  // the next to do
  json lines = json::array();                   // of metrics.jsonl
  std::map<std::string, Sum> sums;              // of the running epoch
  std::map<std::string, double> metrics;        // of the last finished epoch
  double best = std::numeric_limits<double>::quiet_NaN();
  std::int64_t best_epoch = -1;

  // What it does not.
  std::map<std::string, std::string> texts;  // of the validation that ended the last epoch
  std::unique_ptr<DeviceBatches> source;
  std::unique_ptr<GraphStep> graph;
  std::unique_ptr<JsonLines> log;
  double loss = 0, lr = 0, grad_norm = 0;  // of the last step
  std::int64_t samples = 0;                // in the last step
  std::int64_t run_samples = 0, run_steps = 0;
  double train_seconds = 0;

  json to_json() const {
    json j{{"epoch", epoch}, {"batch", batch},           {"step", step},
           {"log", lines},   {"best_epoch", best_epoch}, {"best", exact(best)}};
    j["sums"] = json::object();
    for (const auto& [name, s] : sums) j["sums"][name] = {exact(s.sum), exact(s.weight)};
    j["metrics"] = json::object();
    for (const auto& [name, value] : metrics) j["metrics"][name] = exact(value);
    return j;
  }
  void from_json(const json& j) {
    epoch = j.at("epoch");
    batch = j.at("batch");
    step = j.at("step");
    lines = j.value("log", json());  // null: of an earlier version
    best_epoch = j.at("best_epoch");
    best = exact(j.at("best"));
    sums.clear();
    for (const auto& [name, s] : j.at("sums").items())
      sums[name] = {exact(s.at(0)), exact(s.at(1))};
    metrics.clear();
    for (const auto& [name, value] : j.at("metrics").items()) metrics[name] = exact(value);
  }
};

namespace {

std::int64_t checked_batches(BatchSource& source, const TrainerOptions& options) {
  THORAX_CHECK(options.epochs >= 1 && options.accumulate >= 1 && options.max_steps >= 0,
               "[train] {} epochs, {} batches a step, {} steps at most", options.epochs,
               options.accumulate, options.max_steps);
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
      steps_per_epoch_((batches_ + options_.accumulate - 1) / options_.accumulate),
      total_steps_(limited(options_.epochs * steps_per_epoch_, options_.max_steps)),
      schedule_(schedule, steps_per_epoch_, total_steps_),
      state_(std::make_unique<State>()) {
  THORAX_CHECK(callbacks_.loss != nullptr, "[train] there is no loss");
  if (options_.loss_scale) loss_scale_.emplace(*options_.loss_scale);
}

Trainer::~Trainer() = default;

void Trainer::note(const std::string& name, double value, double weight) {
  THORAX_CHECK(!options_.graph || name == "loss",
               "[train] '{}' cannot be noted by a loss that is replayed as a graph", name);
  if (!std::isfinite(value)) return;
  Sum& sum = state_->sums[name];
  sum.sum += value * weight;
  sum.weight += weight;
}

json Trainer::full_config() const {
  const ScheduleOptions& s = schedule_.options();
  json config{{"run", options_.config},
              {"trainer",
               {{"epochs", options_.epochs},
                {"max_steps", options_.max_steps},
                {"accumulate", options_.accumulate},
                {"clip_norm", options_.clip_norm},
                {"seed", options_.seed},
                {"batches_per_epoch", batches_},
                {"best_metric", options_.best_metric},
                {"best_is_higher", options_.best_is_higher},
                {"log_steps", options_.log_steps},
                {"optimizer", optimizer_.describe()},
                {"schedule",
                 {{"kind", static_cast<int>(s.kind)},
                  {"unit", static_cast<int>(s.unit)},
                  {"lr", s.lr},
                  {"factor", s.factor},
                  {"milestones", s.milestones},
                  {"final_lr", s.final_lr},
                  {"power", s.power},
                  {"warmup", s.warmup},
                  {"warmup_start", s.warmup_start}}}}}};
  if (options_.loss_scale) {
    const LossScaleOptions& l = *options_.loss_scale;
    config["trainer"]["loss_scale"] = {{"initial", l.initial},   {"growth", l.growth},
                                       {"backoff", l.backoff},   {"interval", l.interval},
                                       {"smallest", l.smallest}, {"largest", l.largest}};
  }
  return config;
}

void Trainer::save() const {
  if (options_.folder.empty()) return;
  for (const Module::Named& parameter : model_.parameters())
    THORAX_CHECK(all_finite(parameter.variable.value()),
                 "[train] step {}: parameter '{}' is not finite any more; the checkpoint of an "
                 "earlier step is kept",
                 state_->step, parameter.name);
  Checkpoint checkpoint{model_.state_dict(), optimizer_.state_dict(), {}};
  checkpoint.texts = options_.texts;
  // Within an epoch there is no validation of these weights.
  if (state_->batch == 0)
    for (const auto& [key, text] : state_->texts) checkpoint.texts[key] = text;
  json state = state_->to_json();
  if (loss_scale_) state["loss_scale"] = {exact(loss_scale_->scale()), loss_scale_->good_steps()};
  checkpoint.texts["state"] = state.dump();
  checkpoint.texts["config"] = dump_json(full_config());
  save_checkpoint(options_.folder / "last.safetensors", checkpoint);
}

namespace {

// The first `count` lines of a log, for the checkpoint of an earlier version, which held their
// number only and where each had its time. Fewer when the file has fewer.
json earlier_lines(const std::filesystem::path& log, std::int64_t count) {
  json lines = json::array();
  for (json& line : JsonLines::read(log)) {
    if (static_cast<std::int64_t>(lines.size()) == count) break;
    line.erase("seconds");
    lines.push_back(std::move(line));
  }
  return lines;
}

// Removes from `now` what a configuration of an earlier version could not hold, and names it.
std::vector<std::string> forget_unknown(json& now, const json& before) {
  std::vector<std::string> unknown;
  for (const char* part : {"run", "trainer"}) {
    if (!now.at(part).is_object() || !before.contains(part)) continue;
    const json all = now.at(part);
    for (const auto& [key, value] : all.items()) {
      if (before.at(part).contains(key)) continue;
      now.at(part).erase(key);
      unknown.push_back(key);
    }
  }
  return unknown;
}

}  // namespace

// Loads the folder's checkpoint, if there is one, and opens the log to go on behind it.
bool Trainer::restore() {
  const std::filesystem::path last = options_.folder / "last.safetensors";
  const std::filesystem::path log = options_.folder / "metrics.jsonl";
  create_folders(options_.folder);
  remove_leftovers(options_.folder);
  clear_checkpoint_leftovers(last);
  const auto message = [&](const std::string& text) {
    if (observer_ != nullptr) observer_->on_message(text);
  };
  const json no_lines = json::array();
  if (!options_.resume) {
    THORAX_CHECK(
        !std::filesystem::exists(last) && !std::filesystem::exists(previous_checkpoint(last)),
        "[train] {}: holds the checkpoint of another run; resume it or take another folder",
        options_.folder.string());
    state_->log = std::make_unique<JsonLines>(log, no_lines);
    return false;
  }
  const std::optional<Checkpoint> checkpoint = load_latest_checkpoint(last, message);
  if (!checkpoint) {
    message(fmt::format("[train] {}: no checkpoint yet; starting anew", options_.folder.string()));
    state_->log = std::make_unique<JsonLines>(log, no_lines);
    return false;
  }
  json before, state;
  State restored;
  try {
    before = json::parse(checkpoint->texts.at("config"));
    state = json::parse(checkpoint->texts.at("state"));
    restored.from_json(state);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    fail("[train] {}: unreadable state: {}", last.string(), error.what());
  }
  if (before.is_object() && before.contains("run") && before["run"].is_object())
    for (const std::string& key : options_.not_compared) before["run"].erase(key);
  // Through text, so that both sides are what parsing gives (numbers of equal kind).
  json now = json::parse(dump_json(full_config()));
  const bool earlier = restored.lines.is_null();
  std::vector<std::string> unknown;
  if (earlier) unknown = forget_unknown(now, before);
  const std::string different = config_differences(before, now);
  THORAX_CHECK(different.empty(),
               "[train] {}: was written with another configuration and cannot be resumed with "
               "this one: {}",
               last.string(), different);
  model_.load_state_dict(checkpoint->model);
  optimizer_.load_state_dict(checkpoint->optimizer);
  if (loss_scale_) {
    const json& saved = state.at("loss_scale");
    loss_scale_->load_state_dict(
        {{"scale", Tensor::full({1}, exact(saved.at(0)), DType::f64)},
         {"good_steps", Tensor::full({1}, saved.at(1).get<double>(), DType::i64)}});
  }
  if (earlier) {
    restored.lines = earlier_lines(log, state.at("lines"));
    message(
        fmt::format("[train] {}: was written by an earlier version, which kept no copy of the log: "
                    "the {} lines "
                    "of {} are taken as they are{}{}",
                    last.string(), restored.lines.size(), log.string(),
                    unknown.empty() ? "" : "; what it did not record is taken as it is now: ",
                    fmt::join(unknown, ", ")));
  }
  restored.log = std::make_unique<JsonLines>(log, restored.lines);
  if (restored.log->first_wrong() != 0)
    message(fmt::format(
        "[train] {}: is not what was written (line {} was lost or altered); its {} lines are "
        "restored from the checkpoint",
        log.string(), restored.log->first_wrong(), restored.lines.size()));
  const std::filesystem::path best = options_.folder / "best.safetensors";
  if (restored.best_epoch >= 0 && !options_.best_metric.empty() && !std::filesystem::exists(best))
    message(fmt::format(
        "[train] {}: is missing; the weights of epoch {} are lost, and only a better epoch will "
        "bring the file back",
        best.string(), restored.best_epoch + 1));
  restored.source = std::move(state_->source);
  restored.graph = std::move(state_->graph);
  *state_ = std::move(restored);
  message(fmt::format("[train] {}: resumed at epoch {} of {}, batch {} of {}", last.string(),
                      state_->epoch + 1, options_.epochs, state_->batch, batches_));
  return true;
}

void Trainer::log(const json& line) {
  if (!state_->log) return;
  state_->log->append(line);
  state_->lines.push_back(line);
}

// Throws the error of a loss that is not finite. The batch is computed again, for the history that
// the backward pass has taken apart; parameters are as they were.
void Trainer::explain_loss(const Batch& batch, std::int64_t index, double value) {
  const State& s = *state_;
  std::string inputs;
  for (const auto& [name, tensor] : batch.tensors)
    if (!all_finite(tensor)) inputs += fmt::format("; '{}' of the batch is not finite", name);
  const std::string first = first_non_finite(callbacks_.loss(batch));
  fail(
      "[train] step {} (epoch {}, batch {}): loss is {}; first value that is not finite: {}{}; "
      "files: {}",
      s.step + 1, s.epoch + 1, index + 1, std::isnan(value) ? std::abs(value) : value,
      first.empty() ? "the loss" : first, inputs, fmt::join(batch.names, ", "));
}

void Trainer::check_norm() const {
  const State& s = *state_;
  THORAX_CHECK(loss_scale_ || std::isfinite(s.grad_norm),
               "[train] step {} (epoch {}): gradient norm is {}", s.step + 1, s.epoch + 1,
               s.grad_norm);
}

// The optimizer's step with gradients times `scale`.
void Trainer::update(double lr, double scale) {
  State& s = *state_;
  if (!loss_scale_ && options_.clip_norm <= 0) {
    optimizer_.step(lr, scale);
    return;
  }
  const SquareSum squares = grad_squares(optimizer_.parameters());
  if (options_.clip_norm > 0) {
    s.grad_norm = std::sqrt(squares.sum.item()) * scale;
    check_norm();
    if (std::isfinite(s.grad_norm)) scale *= clip_factor(s.grad_norm, options_.clip_norm);
  }
  if (!loss_scale_) {
    optimizer_.step(lr, scale);
    return;
  }
  // A device that meets an overflow changes nothing; the host learns of it afterwards.
  optimizer_.step(lr, scale, squares.non_finite);
  const bool overflow = squares.non_finite.item() != 0;
  if (overflow) optimizer_.take_back_step();
  loss_scale_->update(overflow);
}

// One optimizer step over the next `accumulate` batches of the epoch.
void Trainer::train_step(double lr) {
  State& s = *state_;
  const std::int64_t count = std::min<std::int64_t>(options_.accumulate, batches_ - s.batch);
  const double loss_scale = loss_scale_ ? loss_scale_->scale() : 1.0;
  s.samples = 0;
  Sum step_loss;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t index = s.batch + i;
    if (callbacks_.prepare)
      callbacks_.prepare(static_cast<std::uint64_t>(s.epoch * batches_ + index));
    const Batch batch = s.source->get(s.epoch, index);
    const std::int64_t samples = samples_of(batch);
    if (samples == 0) continue;  // every file of it was unreadable, and that was allowed
    const Variable loss = callbacks_.loss(batch);
    THORAX_CHECK(loss.defined() && loss.value().numel() == 1,
                 "[train] the loss must be a single number");
    const double weight = static_cast<double>(samples);
    const double share = options_.accumulate == 1 ? 1.0 : weight;
    // A GPU is given all of a batch's work before anybody waits for the loss, and the next batch
    // travels while it computes. Losses are means over a batch; the step takes the mean over all
    // samples of its batches.
    backward(loss, Tensor::full(loss.shape(), share * loss_scale, loss.value().dtype(),
                                loss.value().device()));
    if (index + 1 < batches_) s.source->prefetch(s.epoch, index + 1);
    const double value = loss.value().item();
    if (!std::isfinite(value)) explain_loss(batch, index, value);
    note("loss", value, weight);
    step_loss.sum += value * weight;
    step_loss.weight += weight;
    s.samples += samples;
  }
  s.lr = lr;
  s.loss = step_loss.mean();
  if (s.samples > 0) {
    const double samples = options_.accumulate == 1 ? 1.0 : static_cast<double>(s.samples);
    update(lr, 1 / (samples * loss_scale));
    optimizer_.zero_grad();
  }
  s.batch += count;
  ++s.step;
  s.run_samples += s.samples;
  ++s.run_steps;
}

// The same as one launch, which is waited for once.
void Trainer::graph_step(double lr) {
  State& s = *state_;
  const std::int64_t index = s.batch;
  const auto number = static_cast<std::uint64_t>(s.epoch * batches_ + index);
  if (callbacks_.prepare) callbacks_.prepare(number);
  const Batch batch = s.source->get(s.epoch, index);
  s.samples = samples_of(batch);
  s.lr = lr;
  s.loss = std::numeric_limits<double>::quiet_NaN();
  if (s.samples > 0) {
    const double loss_scale = loss_scale_ ? loss_scale_->scale() : 1.0;
    const std::int64_t captures = s.graph->captures();
    s.graph->launch(batch, number, lr, 1 / loss_scale, loss_scale);
    if (observer_ != nullptr && s.graph->captures() != captures)
      observer_->on_message(fmt::format("[train] step {} captured as a graph: {} launches in one",
                                        s.step + 1, s.graph->graph_size()));
    if (index + 1 < batches_) s.source->prefetch(s.epoch, index + 1);
    const GraphStep::Result result = s.graph->wait();
    // The device has left out a step that is not finite.
    if (!std::isfinite(result.loss)) explain_loss(batch, index, result.loss);
    note("loss", result.loss, static_cast<double>(s.samples));
    s.loss = result.loss;
    if (options_.clip_norm > 0) s.grad_norm = result.grad_norm;
    check_norm();
    if (loss_scale_) {
      if (result.overflow) optimizer_.take_back_step();
      loss_scale_->update(result.overflow);
    }
  }
  ++s.batch;
  ++s.step;
  s.run_samples += s.samples;
  ++s.run_steps;
}

// Validation, log, best weights. Leaves the position at the start of the next epoch.
void Trainer::end_epoch() {
  State& s = *state_;
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
    THORAX_CHECK(options_.accumulate == 1,
                 "[train] {} batches a step: only steps of one batch are captured as a graph",
                 options_.accumulate);
    s.graph = std::make_unique<GraphStep>(
        optimizer_, device, GraphStep::Options{options_.clip_norm, loss_scale_.has_value()},
        callbacks_.loss);
    if (callbacks_.number_on_device) callbacks_.number_on_device(s.graph->number());
  }
  if (!options_.folder.empty()) restore();
  const auto result = [&](TrainResult::Status status) {
    return TrainResult{status, s.epoch, s.step, s.metrics, s.best, s.best_epoch};
  };
  Clock::time_point saved = Clock::now();
  std::int64_t saved_step = s.step;
  model_.train();
  optimizer_.zero_grad();
  while (s.epoch < options_.epochs && (s.step < total_steps_ || s.batch > 0)) {
    while (s.batch < batches_ && s.step < total_steps_) {
      const Clock::time_point start = Clock::now();
      s.graph ? graph_step(schedule_.lr(s.step)) : train_step(schedule_.lr(s.step));
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
      if (stop_requested()) {
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
    try {
      end_epoch();
    } catch (const Interrupted&) {
      model_.train();
      save();
      return result(TrainResult::Status::interrupted);
    }
    save();
    saved = Clock::now();
    saved_step = s.step;
    if (stop_requested() && s.epoch < options_.epochs && s.step < total_steps_)
      return result(TrainResult::Status::interrupted);
  }
  return result(TrainResult::Status::finished);
}

}  // namespace thorax
