// `thorax lr-find segmenter|classifier`: a learning rate for a network and its data, by trying.
#include <fmt/format.h>
#include <stdlib.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <limits>
#include <memory>
#include <string_view>

#include "apps/evaluation.h"
#include "apps/number_checks.h"
#include "apps/progress.h"
#include "apps/run.h"
#include "apps/settings.h"
#include "apps/training.h"
#include "data/csv.h"
#include "engine/io/config.h"
#include "engine/io/output_folder.h"
#include "engine/train/lr_sweep.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

struct Options {
  SettingsOptions settings;
  LrSweepOptions sweep = {};
};

// For the lungs, of which nothing is kept.
class Scratch {
 public:
  Scratch() {
    std::string name = (fs::temp_directory_path() / "thorax-lr-find-XXXXXX").string();
    THORAX_CHECK(::mkdtemp(name.data()) != nullptr, "[io] {}: cannot be created", name);
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Feeds the sweep; ends the training when it is over.
class Feeder : public TrainObserver {
 public:
  Feeder(LrSweep& sweep, std::int64_t steps)
      : sweep_(sweep), progress_("lr-find", steps, "steps") {}
  void on_step(const TrainProgress& p) override {
    over_ = !sweep_.add(p.lr, p.loss);
    progress_.advance(1, fmt::format("lr {:.3g}  loss {:.4f}", p.lr, p.loss));
    if (over_) request_stop();
  }
  bool over() const { return over_; }

 private:
  LrSweep& sweep_;
  Progress progress_;
  bool over_ = false;
};

void try_rates(Training& training, LrSweep& sweep, const LrSweepOptions& range) {
  TrainerOptions& options = training.options;
  options.max_steps = range.steps;
  options.epochs = range.steps;  // at least one step each
  options.average_decay = 0;
  Feeder feeder(sweep, range.steps);
  Trainer trainer(*training.model, *training.optimizer, sweep.schedule(), *training.images, options,
                  training.callbacks, &feeder);
  try {
    const TrainResult result = trainer.run();
    THORAX_CHECK(result.status == TrainResult::Status::finished || feeder.over(),
                 "[lr-find] stopped by a signal; nothing was written");
  } catch (const Error& error) {
    // A rate so large that the loss or its gradient is not finite: what the sweep was to find. In
    // the first steps, whose rates are tiny, it is a fault of the data.
    const bool diverged = std::string_view(error.what()).starts_with("[train] step");
    if (!diverged || static_cast<std::int64_t>(sweep.rows().size()) < range.settle) throw;
    sweep.add(0, std::numeric_limits<double>::quiet_NaN());
  }
}

Plot plot_of(const LrSweep& sweep, const std::optional<LrSweep::Suggestion>& found) {
  Plot plot{"Learning rate", {"learning rate"}, {"loss"}};
  plot.x.log = true;
  Series raw{"loss of the step", SeriesStyle::line, {}, {}};
  Series smooth{"smoothed", SeriesStyle::line, {}, {}};
  raw.faint = true;
  for (const LrSweep::Row& row : sweep.rows()) {
    for (Series* series : {&raw, &smooth}) series->x.push_back(row.lr);
    raw.y.push_back(row.loss);
    smooth.y.push_back(row.smoothed);
  }
  plot.series = {raw, smooth};
  const double top = sweep.drawn_up_to();
  for (const LrSweep::Row& row : sweep.rows())
    if (std::max(row.loss, row.smoothed) > top) plot.y.high = top;
  if (found) {
    const auto [low, high] = std::minmax_element(smooth.y.begin(), smooth.y.end());
    Series mark{fmt::format("suggested: {:.3g}", found->steepest),
                SeriesStyle::interval,
                {found->steepest},
                {*low}};
    mark.high = {std::min(*high, top)};
    plot.series.push_back(mark);
  }
  return plot;
}

// Where the results may go. In a run's folder they would be files that no run writes.
void open_results(const fs::path& out, bool overwrite) {
  THORAX_CHECK(!fs::exists(out / "config.json") && !fs::exists(out / "last.safetensors"),
               "[lr-find] {}: is the folder of a run; give another --out", out.string());
  for (const char* ending : {".csv", ".json", ".svg", ".png"})
    THORAX_CHECK(overwrite || !fs::exists(out / (std::string("lr_find") + ending)),
                 "[lr-find] {}: holds lr_find{} already; give --overwrite or another --out",
                 out.string(), ending);
  open_output_folder(out);
}

void run(Task task, const Options& o) {
  const Device device = apply(o.settings.compute);
  const TrainSettings settings = o.settings.settings();
  const Compute compute = training_compute(device, settings.precision, o.settings.graph);
  LrSweep sweep(o.sweep);
  RunRequest request;
  request.command = fmt::format("lr-find {}", name_of(task));
  const fs::path& out = o.settings.out;
  open_results(out, o.settings.overwrite);
  const Scratch scratch;
  const ReadData data = read_data(settings, request, compute, scratch.path());
  const Splits splits = hold_out(data.items, settings.validation_share,
                                 static_cast<std::uint64_t>(settings.seed), grouping(settings));
  const std::unique_ptr<Training> training = make_training(
      settings, data.dataset.classes, select(data.dataset, splits.folds[0].train), compute);
  try_rates(*training, sweep, o.sweep);
  const std::optional<LrSweep::Suggestion> found = sweep.suggestion();

  std::string csv = csv_line({"step", "lr", "loss", "smoothed"});
  std::int64_t step = 0;
  for (const LrSweep::Row& row : sweep.rows())
    csv += fmt::format("{},{},{},{}\n", ++step, row.lr, row.loss, row.smoothed);
  atomic_write(out / "lr_find.csv", csv);
  saved_figure(out, "lr_find", plot_of(sweep, found));
  save_json(out / "lr_find.json",
            {{"suggested", found ? nlohmann::json(found->steepest) : nlohmann::json()},
             {"lowest", found ? nlohmann::json(found->lowest) : nlohmann::json()},
             {"steps", sweep.rows().size()},
             {"diverged", sweep.diverged()},
             {"settings", training->settings.to_json()}});
  fmt::print("{} steps from {:g}{}; {}\n", sweep.rows().size(), o.sweep.from,
             sweep.diverged() ? fmt::format(", diverging above {:.3g}", sweep.rows().back().lr)
                              : fmt::format(" to {:g}", o.sweep.to),
             (out / "lr_find.csv").string());
  THORAX_CHECK(
      found.has_value(),
      "[lr-find] the loss falls nowhere from {:g} to {:g} for longer than a few batches, so "
      "that no rate is better than another; try more --steps, a larger --batch, or another range "
      "(--from, "
      "--to)",
      o.sweep.from, o.sweep.to);
  fmt::print(
      "suggested: --lr {:.2g} (where the loss falls fastest; it is lowest at {:.2g}, which is too "
      "large to train with)\n",
      found->steepest, found->lowest);
}

void add(CLI::App& root) {
  CLI::App* find =
      root.add_subcommand("lr-find", "Find a learning rate: one short run through many");
  find->require_subcommand(1);
  for (const Task task : {Task::segmenter, Task::classifier}) {
    CLI::App* command = find->add_subcommand(
        name_of(task),
        "The rate rises exponentially with every step until the loss diverges; writes lr_find.csv, "
        ".json, .svg and .png, and prints where the loss falls fastest");
    auto* options = new Options{{*command, task, SettingsFor::trial}};
    command->add_option("--from", options->sweep.from, "Rate of the first step")
        ->capture_default_str()
        ->check(in_range(1e-30, 1e6));
    command->add_option("--to", options->sweep.to, "Rate of the last step")
        ->capture_default_str()
        ->check(in_range(1e-30, 1e6));
    command->add_option("--steps", options->sweep.steps, "Steps; fewer when the loss diverges")
        ->capture_default_str()
        ->check(in_range(std::int64_t{10}, std::int64_t{100'000}));
    command->footer(fmt::format("Example:\n  thorax lr-find {} --data {} --out runs/lr",
                                name_of(task),
                                task == Task::segmenter ? "shenzhen:DIR" : "covid:DIR"));
    command->callback([task, options] { run(task, *options); });
  }
}

}  // namespace
THORAX_COMMAND(25, add)
}  // namespace thorax::app
