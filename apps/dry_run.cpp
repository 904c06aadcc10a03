#include "apps/dry_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>

#include "apps/progress.h"
#include "data/describe.h"
#include "data/multilabel.h"
#include "engine/io/json_text.h"
#include "engine/runtime/allocator.h"
#include "engine/runtime/flop_count.h"
#include "engine/train/label_stratification.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

// Two steps before a graph is captured, and the capture.
constexpr std::int64_t kSteps = 4, kStepsWithGraph = 7;

double seconds_between(Clock::time_point a, Clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

std::int64_t bytes_of(const StateDict& tensors) {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors)
    bytes += tensor.numel() * static_cast<std::int64_t>(size_of(tensor.dtype()));
  return bytes;
}

// What a few steps of a network say of all of them.
struct Measured {
  std::int64_t parameters = 0, trained = 0;
  double flop_image = 0, flop_step = 0;
  std::size_t peak = 0;
  double step_seconds = 0, image_seconds = 0;  // training step; image in evaluation
  std::int64_t weight_bytes = 0, checkpoint_bytes = 0;
  std::int64_t images = 0, validation_images = 0, steps = 0;  // of the first fold; an epoch's steps
};

class StepClock : public TrainObserver {
 public:
  explicit StepClock(const FlopCount& flops) : flops_(flops) {}
  void on_step(const TrainProgress&) override {
    times_.push_back(Clock::now());
    if (times_.size() == 1) flop_step_ = flops_.count();
  }
  double flop_step() const { return flop_step_; }
  // The median of all but the first, which also fills caches.
  double seconds() const {
    std::vector<double> all;
    for (std::size_t i = 1; i < times_.size(); ++i)
      all.push_back(seconds_between(times_[i - 1], times_[i]));
    std::sort(all.begin(), all.end());
    return all.empty() ? 0 : all[all.size() / 2];
  }

 private:
  const FlopCount& flops_;
  std::vector<Clock::time_point> times_;
  double flop_step_ = 0;
};

// What is said while something is tried is no part of the plan.
class MessagesToStderr {
 public:
  MessagesToStderr() : before_(stdout) {
    std::fflush(stdout);
    stdout = stderr;
  }
  ~MessagesToStderr() { stdout = before_; }
  MessagesToStderr(const MessagesToStderr&) = delete;
  MessagesToStderr& operator=(const MessagesToStderr&) = delete;

 private:
  std::FILE* before_;
};

Measured measure(TrainSettings settings, const ReadData& data, const Fold& fold,
                 const Compute& compute) {
  const MessagesToStderr elsewhere;
  // The lungs are not found yet; a step on whole images is the same work.
  settings.view = name_of(View::whole);
  Allocator& memory = allocator(compute.device);
  const std::size_t before = memory.stats().in_use;
  memory.reset_peak();
  const std::unique_ptr<Training> training =
      make_training(settings, data.dataset.classes, select(data.dataset, fold.train), compute);
  const Model& model = *training->model;
  Measured m;
  m.images = static_cast<std::int64_t>(fold.train.size());
  m.validation_images = static_cast<std::int64_t>(fold.validation.size());
  const std::int64_t batches = training->images->batches_per_epoch();
  const std::int64_t step = settings.accumulate * std::max<std::int64_t>(1, settings.pieces);
  m.steps = (batches + step - 1) / step;
  m.parameters = model.parameter_count();
  for (const Module::Named& p : training->optimizer->parameters())
    m.trained += p.variable.value().numel();
  m.weight_bytes = bytes_of(model.state_dict());
  m.checkpoint_bytes = m.weight_bytes + bytes_of(training->optimizer->state_dict());
  if (settings.ema > 0) m.checkpoint_bytes += m.trained * 4;

  TrainerOptions& options = training->options;
  options.max_steps = options.epochs = compute.graph ? kStepsWithGraph : kSteps;
  const FlopCount flops;
  StepClock clock(flops);
  Trainer trainer(*training->model, *training->optimizer, training->schedule, *training->images,
                  options, training->callbacks, &clock);
  THORAX_CHECK(trainer.run().status == TrainResult::Status::finished, "[plan] stopped by a signal");
  m.flop_step = clock.flop_step();
  m.step_seconds = clock.seconds();

  training->model->eval();
  const NoGrad no_grad;
  const auto forward = [&](std::int64_t images) {
    const Tensor input = Tensor::zeros({images, settings.size, settings.size,
                                        settings.model.value("in_channels", std::int64_t{1})});
    model.logits(Variable(input.to(compute.device)), compute.precision)
        .value()
        .to(Device{});  // waits
  };
  const double counted = flops.count();
  forward(1);
  m.flop_image = flops.count() - counted;
  forward(settings.batch);
  const Clock::time_point start = Clock::now();
  forward(settings.batch);
  m.image_seconds = seconds_between(start, Clock::now()) / static_cast<double>(settings.batch);
  m.peak = memory.stats().peak_in_use - before;
  return m;
}

// Of one fold.
double seconds_of(const TrainSettings& s, const Measured& m) {
  const auto number = [](std::int64_t n) { return static_cast<double>(n); };
  const double measured_images =
      number(std::min(s.norm_batches * s.batch, m.images)) + number(m.validation_images);
  return number(s.epochs) * (number(m.steps) * m.step_seconds + measured_images * m.image_seconds) +
         number(m.validation_images) * m.image_seconds;
}

// With several findings an image: of each, the images that have it.
json counts_of(const std::vector<std::string>& ids,
               const std::unordered_map<std::string, const Sample*>& by_id,
               const std::vector<std::string>& names, bool classes) {
  std::map<std::string, std::int64_t> by_class;
  std::set<std::string> patients;
  for (const std::string& id : ids) {
    const Sample& sample = *by_id.at(id);
    patients.insert(sample.patient);
    if (classes && !sample.class_name.empty()) ++by_class[sample.class_name];
    for (std::size_t f = 0; classes && f < sample.labels.size(); ++f)
      by_class[names[f]] += sample.labels[f] == kPositiveLabel;
  }
  return {{"images", ids.size()}, {"patients", patients.size()}, {"classes", by_class}};
}

json folds_of(const Splits& splits, const Dataset& dataset, bool classes) {
  std::unordered_map<std::string, const Sample*> by_id;
  for (const Sample& sample : dataset.samples) by_id[sample.id] = &sample;
  json folds = json::array();
  for (const Fold& fold : splits.folds)
    folds.push_back({{"train", counts_of(fold.train, by_id, dataset.classes, classes)},
                     {"validation", counts_of(fold.validation, by_id, dataset.classes, classes)}});
  return folds;
}

std::string scaled(double value, double step, const char* unit) {
  const char* const prefixes[] = {"", "k", "M", "G", "T", "P"};
  std::size_t i = 0;
  for (; value >= step && i + 1 < std::size(prefixes); ++i) value /= step;
  return fmt::format("{:.3g} {}{}", value, prefixes[i], unit);
}
std::string bytes_text(double bytes) {
  return scaled(bytes, 1000, "B");
}

json network_json(const ExperimentRow& row, const Measured& m, std::size_t folds) {
  return {{"name", row.name},
          {"model", row.settings.model},
          {"parameters", m.parameters},
          {"trained_parameters", m.trained},
          {"flop_forward_image", m.flop_image},
          {"flop_step", m.flop_step},
          {"images_a_step", row.settings.batch * row.settings.accumulate},
          {"steps_an_epoch", m.steps},
          {"epochs", row.settings.epochs},
          {"folds", folds},
          {"peak_bytes_measured", m.peak},
          {"seconds_a_step_measured", m.step_seconds},
          {"seconds_estimated", seconds_of(row.settings, m) * static_cast<double>(folds)},
          {"weight_bytes", m.weight_bytes},
          {"checkpoint_bytes", m.checkpoint_bytes}};
}

// The first folder above that is there.
fs::path existing(fs::path path) {
  path = fs::absolute(path);
  while (!fs::exists(path) && path.has_parent_path() && path != path.parent_path())
    path = path.parent_path();
  return path;
}

void print_network(const ExperimentRow& row, const json& n, const Compute& compute) {
  const auto number = [&](const char* key) { return n.at(key).get<double>(); };
  fmt::print("\n{}{}, {} x {}, {} images a step{}\n", row.name.empty() ? "" : row.name + ": ",
             row.settings.model.value("model", ""), row.settings.size, row.settings.size,
             n.at("images_a_step").get<std::int64_t>(),
             row.settings.accumulate > 1
                 ? fmt::format(" ({} x {})", row.settings.accumulate, row.settings.batch)
                 : "");
  fmt::print(
      "  parameters        {}{}\n", n.at("parameters").get<std::int64_t>(),
      n.at("parameters") == n.at("trained_parameters")
          ? ""
          : fmt::format(", {} of them trained", n.at("trained_parameters").get<std::int64_t>()));
  fmt::print("  work              {} an image forward, {} a training step\n",
             scaled(number("flop_forward_image"), 1000, "FLOP"),
             scaled(number("flop_step"), 1000, "FLOP"));
  fmt::print(
      "  memory            {} of tensors on {} at most, measured in a few steps (images in "
      "the cache, up to --cache-mb {}, and the program come on top)\n",
      bytes_text(number("peak_bytes_measured")), to_string(compute.device), row.settings.cache_mb);
  fmt::print(
      "  time              {} (estimate: {} epochs of {} steps at {:.3g} s, measured, and "
      "validation{}{})\n",
      format_duration(number("seconds_estimated")), row.settings.epochs,
      n.at("steps_an_epoch").get<std::int64_t>(), number("seconds_a_step_measured"),
      n.at("folds").get<int>() > 1 ? fmt::format("; {} folds", n.at("folds").get<int>()) : "",
      row.settings.early_stop > 0 ? "; less when it stops early" : "");
}

}  // namespace

void print_dry_run(const TrainSettings& shared, const DryRun& plan, const Compute& compute) {
  RunRequest request = plan.request;
  for (const ExperimentRow& row : plan.rows)
    if (!row.name.empty()) request.networks.push_back(row.settings);
  const ReadData data = read_data(shared, request, compute);
  const bool classes = shared.task == Task::classifier;
  const auto seed = static_cast<std::uint64_t>(shared.seed);
  const auto split = [&](const TrainSettings& s) {
    return plan.cross_validation ? k_fold(data.items, static_cast<int>(s.folds), seed, grouping(s))
                                 : hold_out(data.items, s.validation_share, seed, grouping(s));
  };
  const Splits splits = split(shared);
  const std::size_t folds = splits.folds.size();
  json document{{"command", request.command},
                {"settings", shared.to_json()},
                {"device", to_string(compute.device)},
                {"data", describe_json(summarize(data.dataset))},
                {"grouping", shared.group},
                {"folds", folds_of(splits, data.dataset, classes)}};
  if (!shared.segmenter.empty())
    document["note"] =
        "before the lungs are cut: images whose lungs are too small will be left out";

  std::map<std::string, Measured> seen;  // views and labels make no difference to the work
  double seconds = 0, disk = 0, largest = 0;
  for (const ExperimentRow& row : plan.rows) {
    const std::string key = row.settings.model.dump();
    if (!seen.contains(key)) seen[key] = measure(row.settings, data, splits.folds.front(), compute);
    const Measured& m = seen.at(key);
    document["networks"].push_back(network_json(row, m, folds));
    seconds += seconds_of(row.settings, m) * static_cast<double>(folds);
    const double kept = static_cast<double>(2 * m.checkpoint_bytes + m.weight_bytes);
    disk += static_cast<double>(folds) *
            (plan.keep_checkpoints ? kept : static_cast<double>(m.weight_bytes));
    if (!plan.keep_checkpoints) largest = std::max(largest, kept);
  }
  disk += largest;  // of the fold that is being trained
  const fs::path place = existing(request.folder);
  const auto free = static_cast<double>(fs::space(place).available);
  document["seconds_estimated"] = seconds;
  document["disk_bytes"] = disk;
  document["disk_free_bytes"] = free;

  if (plan.json) {
    fmt::print("{}\n", dump_json(document, 2));
  } else {
    fmt::print("{}", describe_text(summarize(data.dataset)));
    for (const std::string& line : data.lines) fmt::print("{}\n", line);
    fmt::print("\n{}{}", describe_splits(splits, data.items),
               data.dataset.multilabel && classes
                   ? lacking_labels(splits, data.items, data.dataset.classes)
                   : "");
    if (document.contains("note")) fmt::print("({})\n", document.at("note").get<std::string>());
    for (std::size_t i = 0; i < plan.rows.size(); ++i)
      print_network(plan.rows[i], document.at("networks")[i], compute);
    fmt::print("\nin all: {} (estimate), {} of disk for weights and checkpoints ({} free in {})\n",
               format_duration(seconds), bytes_text(disk), bytes_text(free), place.string());
  }
  THORAX_CHECK(disk <= free,
               "[plan] {}: {} are wanted for weights and checkpoints, {} are free; give --out a "
               "folder elsewhere",
               place.string(), bytes_text(disk), bytes_text(free));
  THORAX_CHECK(request.overwrite || !fs::exists(request.folder / "config.json"),
               "[plan] {}: holds a run already: --resume would go on with it, --overwrite replace "
               "it",
               request.folder.string());
}

}  // namespace thorax::app
