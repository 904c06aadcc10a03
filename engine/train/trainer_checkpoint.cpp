// What a training run keeps on disk and goes on from.
#include <fmt/format.h>

#include <new>

#include "engine/io/atomic_file.h"
#include "engine/io/json_text.h"
#include "engine/train/checkpoint.h"
#include "engine/train/trainer_state.h"

namespace thorax {

using nlohmann::json;

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
  // Only where they are asked for: configurations without them are those of earlier versions.
  if (options_.pieces > 1) config["trainer"]["pieces"] = options_.pieces;
  if (options_.early_stop > 0) config["trainer"]["early_stop"] = options_.early_stop;
  if (options_.average_decay > 0) config["trainer"]["average_decay"] = options_.average_decay;
  return config;
}

void Trainer::save() const {
  if (options_.folder.empty()) return;
  for (const Module::Named& parameter : model_.parameters())
    THORAX_CHECK(all_finite(parameter.variable.value()),
                 "[train] step {}: parameter '{}' is not finite any more; the checkpoint of an "
                 "earlier step is kept",
                 state_->step, parameter.name);
  Checkpoint checkpoint{model_.state_dict(), optimizer_.state_dict(), {}, {}};
  // Whoever takes the network out of a checkpoint is given the one that was judged.
  if (state_->average) {
    for (const auto& [name, tensor] : state_->average->averages()) checkpoint.model[name] = tensor;
    checkpoint.trained = state_->average->weights();
  }
  checkpoint.texts = options_.texts;
  // Within an epoch there is no validation of these weights.
  if (state_->batch == 0)
    for (const auto& [key, text] : state_->texts) checkpoint.texts[key] = text;
  json state = state_->to_json();
  if (loss_scale_)
    state["loss_scale"] = {exact_text(loss_scale_->scale()), loss_scale_->good_steps()};
  if (state_->average) state["average_updates"] = state_->average->updates();
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
  if (state_->average)
    state_->average->restore(checkpoint->model, checkpoint->trained, state.at("average_updates"));
  if (loss_scale_) {
    const json& saved = state.at("loss_scale");
    loss_scale_->load_state_dict(
        {{"scale", Tensor::full({1}, exact_number(saved.at(0)), DType::f64)},
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
  restored.average = std::move(state_->average);
  restored.alone = std::move(state_->alone);
  *state_ = std::move(restored);
  message(fmt::format("[train] {}: resumed at epoch {} of {}, batch {} of {}", last.string(),
                      state_->epoch + 1, options_.epochs, state_->batch, batches_));
  return true;
}

}  // namespace thorax
