#include "apps/training.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include "apps/class_balance.h"
#include "apps/console.h"
#include "apps/findings.h"
#include "apps/fold_files.h"
#include "apps/inference/model_file.h"
#include "apps/inference/run_networks.h"
#include "apps/progress.h"
#include "apps/ranks.h"
#include "apps/scoring.h"
#include "apps/starting_weights.h"
#include "data/augment.h"
#include "data/loader.h"
#include "engine/io/atomic_file.h"
#include "engine/optim/optimizer.h"
#include "engine/optim/schedule.h"
#include "engine/runtime/parallel.h"
#include "engine/stats/multilabel.h"
#include "engine/train/checkpoint.h"
#include "engine/train/trainer.h"
#include "models/factory.h"
#include "models/freeze.h"
#include "models/norm_statistics.h"

namespace thorax::app {

namespace fs = std::filesystem;

namespace {

bool several_findings(const std::vector<Sample>& samples) {
  return !samples.empty() && !samples.front().labels.empty();
}

LoaderConfig loader_config(const TrainSettings& s, bool training,
                           const std::vector<Sample>& samples, const OrganOutputs& organs = {}) {
  const auto images = static_cast<std::int64_t>(samples.size());
  LoaderConfig c;
  c.height = c.width = static_cast<int>(s.size);
  c.channels = static_cast<int>(s.model.value("in_channels", 1));
  c.batch = static_cast<int>(training ? s.piece_images() : s.batch);
  c.shuffle = training;
  c.with_findings = s.task == Task::classifier && several_findings(samples);
  c.with_label = s.task == Task::classifier && !c.with_findings;
  c.with_mask = s.task == Task::segmenter;
  set_organs(c, organs);
  c.mean = static_cast<float>(kInputMean);
  c.deviation = static_cast<float>(kInputDeviation);
  c.view = s.task == Task::classifier ? s.seen() : View::whole;
  c.intensity = parse_intensity(s.intensity);
  if (training) c.augment = augment_from_json(s.augment);
  c.balanced = training && s.task == Task::classifier && s.sampling == "balanced";
  // One image alone gives batch norm nothing to measure where maps are 1 x 1, and noise elsewhere.
  c.drop_last = training && s.task == Task::classifier && images > c.batch && images % c.batch == 1;
  c.seed = static_cast<std::uint64_t>(s.seed);
  c.workers = static_cast<int>(s.workers);
  // Training images are three quarters or more of all; both loaders share the limit so.
  c.cache_bytes = s.cache_mb * (1 << 20) / 4 * (training ? 3 : 1);
  // Whatever --on-error says: what cannot be read is left out before a run begins (run.h). A file
  // that goes bad later would change what is learned from one epoch to the next, so it ends the
  // run, which goes on with --resume when the file is back.
  c.on_bad_file = OnBadFile::fail;
  return c;
}

void describe_frozen(const TrainSettings& s, const FreezeReport& report) {
  fmt::print(stderr, "[freeze] {}\n", report.to_string(s.freeze));
  if (s.weights.empty())
    fmt::print(stderr, "[freeze] note: without --weights these are random starting values\n");
}

// What the figures that follow are of.
void describe_early_stop(const std::string& title, const TrainSettings& s,
                         const std::string& metric, const TrainResult& trained) {
  const std::string best = trained.best_epoch < 0
                               ? fmt::format("no epoch has a {}", metric)
                               : fmt::format("the best {} is {:.4g} of epoch {}", metric,
                                             trained.best, trained.best_epoch + 1);
  fmt::print(
      "{} stopped early after epoch {} of {}: {} epoch{} without a better one; {}. The result is "
      "of the last epoch\n",
      title, trained.epochs, s.epochs, s.early_stop, s.early_stop == 1 ? "" : "s", best);
}

// Only what a finished fold is used for stays: a checkpoint holds the optimizer's state too, two
// more numbers for every weight.
void drop_checkpoints(const fs::path& folder) {
  bool removed = false;
  for (const char* name : {"last.safetensors", "last.prev.safetensors", "best.safetensors"})
    removed = fs::remove(folder / name) || removed;
  clear_checkpoint_leftovers(folder / "last.safetensors");
  if (removed) sync_folder(folder);
}

// Shows a run to the person in front of it.
class Watcher : public TrainObserver {
 public:
  Watcher(std::string title, std::int64_t epochs, std::int64_t images, std::int64_t batch,
          std::function<void()> begun)
      : title_(std::move(title)),
        epochs_(epochs),
        images_(images),
        batch_(batch),
        begun_(std::move(begun)) {}

  void on_step(const TrainProgress& p) override {
    if (begun_) std::exchange(begun_, nullptr)();
    if (log_level() == LogLevel::verbose) {
      fmt::print(stderr,
                 "{} epoch {} step {}/{}  loss {:.6g}  lr {:.4g}  gradient norm {}  {} images{}\n",
                 title_, p.epoch + 1, p.step, p.steps, p.loss, p.lr,
                 p.grad_norm > 0 ? fmt::format("{:.4g}", p.grad_norm) : "-", p.samples,
                 p.loss_scale != 1 ? fmt::format("  loss scale {:g}", p.loss_scale) : "");
      return;
    }
    std::int64_t news = p.samples;
    if (!progress_ || p.epoch != epoch_) {
      // Made after the first step: it counts as done before, or the rate would start at infinity.
      progress_ =
          std::make_unique<Progress>(fmt::format("{} epoch {}/{}", title_, p.epoch + 1, p.epochs),
                                     images_, "img", std::min(p.batch * batch_, images_));
      epoch_ = p.epoch;
      news = 0;
    }
    progress_->advance(news, fmt::format("loss {:.4f}  run ends in {}", p.mean_loss,
                                         format_duration(p.seconds_left)));
  }
  void on_epoch(std::int64_t epoch, const std::map<std::string, double>& metrics) override {
    if (progress_) progress_->finish();
    if (log_level() == LogLevel::quiet) return;
    std::string line = fmt::format("{} epoch {}/{}", title_, epoch + 1, epochs_);
    for (const auto& [name, value] : metrics) line += fmt::format("  {} {:.4g}", name, value);
    const auto elapsed = std::chrono::steady_clock::now() - start_;
    fmt::print("{}  ({})\n", line, format_duration(std::chrono::duration<double>(elapsed).count()));
    std::fflush(stdout);
  }
  void on_message(const std::string& message) override { fmt::print(stderr, "{}\n", message); }

 private:
  std::string title_;
  std::int64_t epochs_, images_, batch_, epoch_ = -1;  // of progress_
  std::function<void()> begun_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::unique_ptr<Progress> progress_;
};

TemperatureFit temperature_of(const std::vector<Scored>& scored) {
  std::vector<int> labels;
  std::vector<std::vector<double>> logits;
  for (const Scored& row : scored) {
    labels.push_back(row.label);
    logits.push_back(row.logits);
  }
  return fit_temperature(logits, labels);
}

// Of two classes.
std::map<std::string, std::string> threshold_of(const std::vector<Scored>& scored) {
  std::vector<int> labels;
  std::vector<double> scores;
  for (const Scored& row : scored) {
    labels.push_back(row.label);
    scores.push_back(row.score);
  }
  return threshold_metadata(labels, scores);
}

}  // namespace

std::size_t output_count(const std::vector<std::string>& classes, bool multilabel) {
  return multilabel || classes.size() > 2 ? classes.size() : 1;
}

TrainSettings fitted(TrainSettings settings, const std::vector<std::string>& classes,
                     bool multilabel) {
  const std::size_t outputs = output_count(classes, multilabel);
  if (settings.task == Task::classifier && outputs > 1 &&
      settings.model.value("outputs", std::int64_t{1}) == 1)
    settings.model["outputs"] = outputs;
  return settings;
}

TrainSettings fitted(TrainSettings settings, const OrganOutputs& organs) {
  if (organs.outputs() > 1 && settings.model.value("out_channels", std::int64_t{1}) == 1)
    settings.model["out_channels"] = organs.outputs();
  return settings;
}

MulticlassReport multiclass_report(const std::vector<Scored>& scored, std::size_t classes) {
  std::vector<int> labels;
  std::vector<std::vector<double>> probabilities;
  for (const Scored& row : scored) {
    labels.push_back(row.label);
    probabilities.push_back(row.probabilities);
  }
  return thorax::multiclass_report(labels, probabilities, static_cast<int>(classes));
}

BinaryReport classifier_report(const std::vector<Scored>& scored) {
  std::vector<int> labels;
  std::vector<double> scores;
  for (const Scored& row : scored) {
    labels.push_back(row.label);
    scores.push_back(row.score);
  }
  return binary_report(labels, scores);
}

SegmenterReport segmenter_report(const std::vector<Scored>& scored) {
  std::vector<double> dice, iou, distance;
  SegmenterReport report;
  if (!scored.empty() && !scored.front().organs.empty()) {
    const OrganReport mean = mean_of(organ_reports(scored));
    return {mean.dice,     mean.iou,   mean.hausdorff95, static_cast<std::int64_t>(scored.size()),
            mean.measured, mean.missed};
  }
  for (const Scored& row : scored) {
    dice.push_back(row.score);
    iou.push_back(row.iou);
    ++report.images;
    if (!std::isnan(row.hausdorff95)) {
      distance.push_back(row.hausdorff95);
      ++report.measured;
    } else if (!(row.score > 0)) {
      ++report.missed;
    }
  }
  report.dice = spread(dice).mean;
  report.iou = spread(iou).mean;
  report.hausdorff95 = spread(distance).mean;
  return report;
}

std::string hausdorff_text(const SegmenterReport& report) {
  const std::string over =
      fmt::format("over {} of {} images", report.measured, report.images) +
      (report.missed > 0 ? fmt::format(", {} missed", report.missed) : std::string());
  return report.measured == 0 ? "- " + over
                              : fmt::format("{:.2f} pixels {}", report.hausdorff95, over);
}

std::vector<Scored> score_samples(const TrainSettings& settings, Model& model,
                                  const std::vector<Sample>& samples, const Compute& compute) {
  Loader loader(samples, loader_config(settings, false, samples));
  double loss = 0;
  return score(settings, {}, model, loader, compute, loss);
}

void tidy_finished_fold(const fs::path& folder) {
  if (fs::exists(folder / "model.safetensors")) drop_checkpoints(folder);
}

std::unique_ptr<Training> make_training(const TrainSettings& settings,
                                        const std::vector<std::string>& classes,
                                        const std::vector<Sample>& train, const Compute& compute) {
  THORAX_CHECK(settings.task == Task::segmenter || train.size() > 1,
               "[train] {} image to train on: a classifier's batch norm needs two at least",
               train.size());
  auto made = std::make_unique<Training>();
  Training& t = *made;
  t.multilabel = settings.task == Task::classifier && several_findings(train);
  t.organs = organ_task(settings, train);
  const TrainSettings& s = t.settings = fitted(fitted(settings, classes, t.multilabel), t.organs);
  t.model = create_model(s.model, static_cast<std::uint64_t>(s.seed));
  if (!s.weights.empty()) start_from(s, classes, t.multilabel, t.organs, *t.model);
  if (!s.freeze.empty()) describe_frozen(s, freeze(*t.model, s.freeze));
  t.model->to(compute.device);  // before the optimizer is made: its state follows
  LoaderConfig images = loader_config(s, true, train, t.organs);
  std::optional<ClassifierLoss> loss;
  if (s.task == Task::classifier) {
    loss.emplace(s, classes, train, compute.device);
    loss->configure(images);
  }
  t.images = std::make_unique<Loader>(train, images);
  t.optimizer = make_optimizer(ConfigObject(s.optimizer, "optimizer"), t.model->parameters());
  t.schedule = schedule_options(ConfigObject(s.schedule, "schedule"));
  t.options.epochs = s.epochs;
  t.options.seed = static_cast<std::uint64_t>(s.seed);
  t.options.clip_norm = s.clip_norm;
  t.options.accumulate = static_cast<int>(s.accumulate);
  t.options.pieces = static_cast<int>(std::max<std::int64_t>(1, s.pieces));
  t.options.average_decay = s.ema;
  t.options.graph = compute.graph;
  // bfloat16 has float32's range; only float16's small gradients need to be lifted.
  if (compute.precision == DType::f16) t.options.loss_scale.emplace();
  t.callbacks.prepare = [&t](std::uint64_t number) {
    t.model->set_step(static_cast<std::uint64_t>(t.settings.seed), number);
  };
  t.callbacks.number_on_device = [&t](const Tensor& number) {
    t.model->set_step_on_device(number);
  };
  t.callbacks.loss = [&t, loss, precision = compute.precision](const Batch& batch) {
    const Variable logits = t.model->logits(Variable(batch.tensors.at("image")), precision);
    return loss ? (*loss)(logits, batch) : batch_loss(t.settings, t.organs, logits, batch);
  };
  if (t.multilabel) t.callbacks.weight = known_labels;
  return made;
}

FoldResult train_fold(const TrainSettings& settings, const std::vector<std::string>& classes,
                      const std::vector<Sample>& train, const std::vector<Sample>& validation,
                      const fs::path& folder, const FoldOptions& fold, const Compute& compute) {
  if (fold.resume && fold_finished(folder)) {
    tidy_finished_fold(folder);
    return load_fold(folder, settings.task);
  }
  const auto started = std::chrono::steady_clock::now();
  begin_together(settings, classes, train, compute);
  std::unique_ptr<Training> training;
  set_up_together([&] { training = make_training(settings, classes, train, compute); });
  create_folders(folder);
  const TrainSettings& s = training->settings;
  const bool multilabel = training->multilabel;
  const OrganOutputs& organs = training->organs;
  Model* const model = training->model.get();
  Loader& train_loader = *training->images;
  Loader validation_loader(validation, loader_config(s, false, validation, organs));
  TrainerOptions& options = training->options;
  options.ranks = &ranks();
  options.folder = folder;
  options.resume = fold.resume;
  options.early_stop = s.early_stop;
  options.checkpoint_seconds = static_cast<double>(s.checkpoint_seconds);
  options.best_metric = s.task == Task::segmenter ? "dice" : "loss";
  options.best_is_higher = s.task == Task::segmenter;
  // Where files lie decides nothing; run.cpp compares what they hold.
  options.config = s.to_json();
  erase_places(options.config);
  options.not_compared = {"data", "classification", "segmenter", "weights"};
  options.texts = model_metadata(*model);
  ModelInput input;
  input.task = name_of(s.task);
  input.size = static_cast<int>(s.size);
  input.view = s.seen();
  input.classes = classes;
  input.intensity = parse_intensity(s.intensity);
  input.multilabel = multilabel;
  input.organs = organs;
  input.tta = s.tta;
  options.texts.merge(input_metadata(input));

  std::map<std::string, std::string> found;  // by the last validation
  TrainerCallbacks& callbacks = training->callbacks;
  callbacks.epoch_texts = [&] { return found; };
  callbacks.validate = [&](std::int64_t epoch) {
    measure_norm_statistics(*model,
                            std::min(s.norm_batches * std::max<std::int64_t>(1, s.pieces),
                                     train_loader.batches_per_epoch()),
                            [&](std::int64_t i) {
                              if (stop_requested()) throw Interrupted();
                              return train_loader.get(epoch, i)
                                  .tensors.at("image")
                                  .to(compute.device)
                                  .to(compute.precision);
                            });
    double loss = 0;
    const std::vector<Scored> scored = score(s, organs, *model, validation_loader, compute, loss);
    std::map<std::string, double> metrics{{"loss", loss}};
    if (s.task == Task::segmenter) {
      const SegmenterReport report = segmenter_report(scored);
      metrics["dice"] = report.dice;
      metrics["iou"] = report.iou;
      metrics["hausdorff95"] = report.hausdorff95;
      metrics["missed"] = static_cast<double>(report.missed);
      add_organ_metrics(scored, organs.organs, metrics);
    } else if (multilabel) {
      const FindingScores all = finding_scores(scored);
      const MultilabelReport report =
          multilabel_report(all.labels, all.probabilities, classes.size());
      // Undefined where validation lacks a finding: then it has no line in the log.
      for (const auto& [name, value] : {std::pair<const char*, double>{"auc", report.macro.auc},
                                        {"average_precision", report.macro.average_precision},
                                        {"micro_auc", report.micro.auc}})
        if (!std::isnan(value)) metrics[name] = value;
      found = finding_threshold_metadata(scored, classes);
    } else if (classes.size() > 2) {
      const MulticlassReport report = multiclass_report(scored, classes.size());
      metrics["accuracy"] = report.accuracy;
      metrics["balanced_accuracy"] = report.balanced_accuracy;
      metrics["auc"] = report.macro_auc;
      found = temperature_metadata(temperature_of(scored));
    } else {
      const BinaryReport report = classifier_report(scored);
      metrics["accuracy"] = report.counts.accuracy();
      metrics["auc"] = report.auc;
      found = threshold_of(scored);
      found.merge(temperature_metadata(temperature_of(scored)));
    }
    return metrics;
  };
  if (s.accumulate > 1)
    fmt::print(
        "[accumulate] {} batches of {} make a step of {} images; the last step of an epoch "
        "takes what is left\n",
        s.accumulate, s.batch, s.accumulate * s.batch);
  if (ranks().size() > 1)
    fmt::print("[dist] {} ranks ({}), {} thread{} each: a batch of {} is {} pieces of {}\n",
               ranks().size(), ranks().library(), num_threads(), num_threads() == 1 ? "" : "s",
               s.batch, s.pieces, s.piece_images());
  Watcher watcher(fold.title, s.epochs, static_cast<std::int64_t>(train.size()), s.piece_images(),
                  fold.begun);
  Trainer trainer(*model, *training->optimizer, training->schedule, train_loader, options,
                  callbacks, &watcher);
  FoldResult result;
  const TrainResult trained = train_together(trainer);
  if (trained.status == TrainResult::Status::interrupted) return result;
  result.finished = true;
  if (trained.stopped_early) describe_early_stop(fold.title, s, options.best_metric, trained);
  if (s.task == Task::classifier) result.classes = classes;
  result.multilabel = multilabel;
  result.left_out = fold.left_out;
  result.scored = score(s, organs, *model, validation_loader, compute, result.loss);
  result.organs = organs.organs;
  if (s.task == Task::classifier && !multilabel) result.temperature = temperature_of(result.scored);
  result.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  if (fold.weights_only) {
    if (multilabel)
      options.texts.merge(finding_threshold_metadata(result.scored, classes));
    else if (s.task == Task::classifier && classes.size() == 2)
      options.texts.merge(threshold_of(result.scored));
    options.texts.merge(temperature_metadata(result.temperature));
    save_model(*model, folder / "model.safetensors", options.texts);
  }
  save_fold(folder, s.task, result, fold.weights_only ? "model.safetensors" : "last.safetensors");
  if (fold.weights_only) drop_checkpoints(folder);
  return result;
}

}  // namespace thorax::app
