#include "apps/settings.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>

#include "apps/class_balance.h"
#include "apps/number_checks.h"
#include "apps/ranks.h"
#include "data/augment.h"
#include "data/class_task.h"
#include "data/decode.h"
#include "engine/io/config.h"
#include "engine/optim/optimizer.h"
#include "engine/optim/schedule.h"
#include "engine/train/run_folder.h"
#include "models/factory.h"

namespace thorax::app {

TrainSettings default_settings(Task task) {
  TrainSettings s;
  s.task = task;
  // AdamW with a short warm-up and a cosine is what trains both networks from scratch every time: a
  // UNet without batch norm, and an HRNet, whose loss the study's SGD lets rise.
  s.optimizer = {{"name", "adamw"}, {"weight_decay", 1e-4}};
  s.schedule = {{"name", "cosine"}, {"unit", "steps"}, {"lr", 1e-3}, {"warmup", 50}};
  s.clip_norm = 1;
  if (task == Task::segmenter) {
    s.model = {{"model", "unet"}};
    s.size = 512;
    s.batch = 4;
  } else {
    s.model = {{"model", "hrnet_w18"}, {"in_channels", 1}, {"head", "study"}, {"outputs", 1}};
    s.schedule["lr"] = 5e-4;
  }
  return s;
}

TrainSettings preset_settings(Task task, const std::string& name) {
  if (name == "default") return default_settings(task);
  THORAX_CHECK(name == "study", "[preset] '{}' is none of default, study", name);
  TrainSettings s = default_settings(task);
  s.size = 512;
  s.folds = 10;
  s.epochs = 25;
  if (task == Task::segmenter) {
    // The study names the rate, not the optimizer.
    s.schedule["lr"] = 0.005;
  } else {
    // Table 5.
    s.batch = 8;
    s.clip_norm = 0;
    s.optimizer = {{"name", "sgd"}, {"momentum", 0.8}, {"weight_decay", 1e-4}};
    s.schedule = {{"name", "step"},
                  {"unit", "epochs"},
                  {"lr", 0.01},
                  {"factor", 0.1},
                  {"milestones", {30, 60, 90}}};
  }
  return s;
}

View TrainSettings::seen() const {
  if (view == "auto") return segmenter.empty() ? View::whole : View::lungs;
  return parse_view(view);
}

nlohmann::json TrainSettings::to_json() const {
  nlohmann::json all{{"task", name_of(task)},
                     {"data", data},
                     {"classification", classification},
                     {"on_patient_conflict", on_patient_conflict},
                     {"duplicates", duplicates},
                     {"on_error", on_error},
                     {"segmenter", segmenter},
                     {"min_area", min_area},
                     {"view", name_of(seen())},
                     {"group", group},
                     {"folds", folds},
                     {"validation_share", validation_share},
                     {"model", model},
                     {"weights", weights},
                     {"size", size},
                     {"intensity", intensity},
                     {"epochs", epochs},
                     {"batch", batch},
                     {"optimizer", optimizer},
                     {"schedule", schedule},
                     {"augment", augment},
                     {"clip_norm", clip_norm},
                     {"norm_batches", norm_batches},
                     {"precision", precision},
                     {"seed", seed}};
  // Only where they are asked for: the configuration of any other run is what it always was.
  if (early_stop > 0) all["early_stop"] = early_stop;
  if (!freeze.empty()) all["freeze"] = freeze;
  if (accumulate > 1) all["accumulate"] = accumulate;
  if (pieces > 1) all["pieces"] = pieces;
  if (ema > 0) all["ema"] = ema;
  if (class_weights != "none") all["class_weights"] = class_weights;
  if (label_smoothing != 0) all["label_smoothing"] = label_smoothing;
  if (sampling != "uniform") all["sampling"] = sampling;
  if (tta != "none") all["tta"] = tta;
  if (loss != "dice") all["loss"] = loss;
  if (activation != "auto") all["activation"] = activation;
  return all;
}

void erase_places(nlohmann::json& settings) {
  for (const char* key : {"data", "classification", "segmenter", "weights"}) settings.erase(key);
}

namespace {

double number(const ConfigObject& c, const char* key, double otherwise,
              const limits::Range<double>& range) {
  return c.number_or(key, otherwise, range.low, range.high);
}
std::int64_t whole(const ConfigObject& c, const char* key, std::int64_t otherwise,
                   const limits::Range<std::int64_t>& range) {
  return c.integer_or(key, otherwise, range.low, range.high);
}
template <class T>
CLI::Validator within(const limits::Range<T>& range) {
  return in_range(range.low, range.high);
}

const std::vector<std::string> kLosses{"dice", "generalised-dice", "dice+ce"};
const std::vector<std::string> kActivations{"auto", "softmax", "sigmoid"};

// Keys of the configuration replace the defaults one by one; objects are replaced whole.
void merge(TrainSettings& s, const ConfigObject& c) {
  const nlohmann::json& json = c.value();
  c.choice_or("task", name_of(s.task), {name_of(s.task)});
  s.data = c.texts_or("data", s.data);
  s.classification = c.choice_or("classification", s.classification, class_task_names());
  s.on_patient_conflict =
      c.choice_or("on_patient_conflict", s.on_patient_conflict, {"report", "error", "drop"});
  s.duplicates = c.choice_or("duplicates", s.duplicates, {"ignore", "join"});
  s.on_error = c.choice_or("on_error", s.on_error, {"fail", "skip"});
  s.segmenter = c.text_or("segmenter", s.segmenter);
  s.min_area = number(c, "min_area", s.min_area, limits::kMinArea);
  s.view = c.text_or("view", s.view);
  s.group = c.choice_or("group", s.group, {"patient", "image"});
  s.folds = whole(c, "folds", s.folds, limits::kFolds);
  s.validation_share = number(c, "validation_share", s.validation_share, limits::kValidationShare);
  s.weights = c.text_or("weights", s.weights);
  s.size = whole(c, "size", s.size, limits::kSize);
  s.intensity = c.choice_or("intensity", s.intensity, intensity_names());
  s.epochs = whole(c, "epochs", s.epochs, limits::kEpochs);
  s.batch = whole(c, "batch", s.batch, limits::kBatch);
  if (s.task == Task::classifier) {
    s.class_weights = c.text_or("class_weights", s.class_weights);
    s.label_smoothing = number(c, "label_smoothing", s.label_smoothing, limits::kLabelSmoothing);
    s.sampling = c.choice_or("sampling", s.sampling, {"uniform", "balanced"});
    s.tta = c.choice_or("tta", s.tta, {"none", "flip"});
  }
  s.clip_norm = number(c, "clip_norm", s.clip_norm, limits::kClipNorm);
  s.norm_batches = whole(c, "norm_batches", s.norm_batches, limits::kNormBatches);
  s.early_stop = whole(c, "early_stop", s.early_stop, limits::kEarlyStop);
  s.freeze = c.texts_or("freeze", s.freeze);
  s.accumulate = whole(c, "accumulate", s.accumulate, limits::kAccumulate);
  s.pieces = whole(c, "pieces", s.pieces, limits::kPieces);
  s.ema = number(c, "ema", s.ema, limits::kEma);
  s.precision = c.choice_or("precision", s.precision, {"float32", "float16", "bfloat16"});
  s.seed = whole(c, "seed", s.seed, limits::kSeed);
  s.loss = c.choice_or("loss", s.loss, kLosses);
  s.activation = c.choice_or("activation", s.activation, kActivations);
  // Checked by their own readers when they are used; here only taken over.
  for (const auto& [key, target] : {std::pair<const char*, nlohmann::json*>{"model", &s.model},
                                    {"optimizer", &s.optimizer},
                                    {"schedule", &s.schedule},
                                    {"augment", &s.augment}})
    if (c.has(key)) *target = json.at(key);
  c.finish();
}

// A file of settings, or the config.json of a run.
void merge_file(TrainSettings& s, const std::filesystem::path& path) {
  const ConfigObject whole_file = ConfigObject::load(path);
  const nlohmann::json& file = whole_file.value();
  const bool run = is_run_config(file);
  if (run && file.contains("experiment"))
    fmt::print(stderr,
               "[config] {}: its settings are taken; the rows of its experiment are options of the "
               "command\n",
               path.string());
  merge(s, run ? whole_file.object("settings") : whole_file);
}

}  // namespace

template <class T>
CLI::Option* SettingsOptions::add(CLI::App& command, const char* flag, T TrainSettings::*member,
                                  const char* help) {
  CLI::Option* option = command.add_option(flag, given_.*member, help);
  overrides_.emplace_back(option, [this, member](TrainSettings& s) { s.*member = given_.*member; });
  return option;
}

namespace {

// A network that cannot do the task is named with those that can.
void check_fits_task(const TrainSettings& s) {
  const std::vector<std::string> segmenters = segmenter_names(), known = model_names();
  // What is no known name is create_model's to refuse.
  const std::string name = s.model.is_object() ? s.model.value("model", "") : "";
  if (std::find(known.begin(), known.end(), name) == known.end()) return;
  const auto segments = [&](const std::string& model) {
    return std::find(segmenters.begin(), segmenters.end(), model) != segmenters.end();
  };
  const bool wanted = s.task == Task::segmenter;
  if (segments(name) == wanted) return;
  std::vector<std::string> fitting;
  for (const std::string& model : known)
    if (segments(model) == wanted) fitting.push_back(model);
  fail("[{}] --model {}: is a {}; a {} is one of: {}", name_of(s.task), name,
       wanted ? "classifier" : "segmenter", name_of(s.task), fmt::join(fitting, ", "));
}

}  // namespace

TrainSettings settings_from_json(Task task, const nlohmann::json& json) {
  TrainSettings s = default_settings(task);
  merge(s, ConfigObject(json, "settings"));
  return s;
}

void check_settings(const TrainSettings& s) {
  THORAX_CHECK(
      s.pieces <= 1 || s.batch % s.pieces == 0,
      "[pieces] --pieces {} and --batch {}: pieces have the same number of images, so that "
      "it must divide the batch",
      s.pieces, s.batch);
  THORAX_CHECK(s.task == Task::segmenter || s.pieces <= 1 || s.piece_images() > 1,
               "[pieces] --pieces {} of --batch {} have one image, of which a classifier's batch "
               "norm learns nothing; a larger --batch, or fewer pieces and ranks",
               s.pieces, s.batch);
  check_fits_task(s);
  create_model(s.model, 0);
  s.seen();
  schedule_options(ConfigObject(s.schedule, "schedule"));
  augment_from_json(s.augment);
  check_balance(s);
  make_optimizer(ConfigObject(s.optimizer, "optimizer"),
                 {{"x", Variable(Tensor::zeros({1}), true)}});
}

SettingsOptions::SettingsOptions(CLI::App& command, Task task, SettingsFor use) : task_(task) {
  const bool classifier = task == Task::classifier;
  const TrainSettings d = default_settings(task);
  const bool one_split = use == SettingsFor::train || use == SettingsFor::trial;
  if (use == SettingsFor::trial) {
    command.add_option("--out", out, "Folder for the results")->required();
    command.add_flag("--overwrite", overwrite, "Replace the lr_find.* in the folder");
  } else {
    command.add_option("--out", out, "Run folder to create")->required();
    CLI::Option* resumed =
        command.add_flag("--resume", resume, "Continue the run in this folder where it stopped");
    command.add_flag(
        "--overwrite", overwrite,
        "Replace the run in the folder; refused when other files than a run's are there");
    CLI::Option* plan = command.add_flag(
        "--dry-run", dry_run,
        "Say what the run would be (data, folds, network, memory, time, disk) and write nothing");
    plan->excludes(resumed);
    command.add_flag("--json", json, "With --dry-run: as JSON")->needs(plan);
  }
  command
      .add_option("--preset", preset_,
                  "Settings to start from: default, or study (10 folds, 25 epochs, 512 x 512)")
      ->check(CLI::IsMember({"default", "study"}));
  command.add_option("--config", config_file_,
                     "Settings, as a run's config.json has under \"settings\": JSON, or TOML in a "
                     "file .toml");
  add(command, "--data", &TrainSettings::data, "kind:PATH[,key=value]; may be given several times");
  if (classifier)
    add(command, "--task", &TrainSettings::classification,
        "What is told: one of two classes (binary), of several (multiclass), or any number of "
        "findings an image (multilabel); default auto: what the data says")
        ->check(CLI::IsMember(class_task_names()));
  add(command, "--on-patient-conflict", &TrainSettings::on_patient_conflict,
      "Patients with images of several classes: report, error or drop (default drop)")
      ->check(CLI::IsMember({"report", "error", "drop"}));
  add(command, "--duplicates", &TrainSettings::duplicates,
      "Near-duplicate images: ignore (default), or join: patients who share one are kept together")
      ->check(CLI::IsMember({"ignore", "join"}));
  add(command, "--on-error", &TrainSettings::on_error,
      "Unreadable image: fail or skip (default fail)")
      ->check(CLI::IsMember({"fail", "skip"}));
  if (classifier) {
    add(command, "--segmenter", &TrainSettings::segmenter,
        "Cut the lungs with this checkpoint first");
    add(command, "--min-area", &TrainSettings::min_area,
        "Smallest lung area in pixels of 512 x 512")
        ->check(within(limits::kMinArea));
    if (use != SettingsFor::rows)
      add(command, "--view", &TrainSettings::view,
          "What the network is shown: lungs (default with --segmenter), whole (default without), "
          "no-lungs, no-lungs-filled, border")
          ->check(CLI::IsMember(view_names()));
  }
  add(command, "--group", &TrainSettings::group,
      "What a split keeps together: patient (default) or image")
      ->check(CLI::IsMember({"patient", "image"}));
  if (!one_split) {
    add(command, "--folds", &TrainSettings::folds, "Number of folds (default 3)")
        ->check(within(limits::kFolds));
  } else {
    add(command, "--validation-share", &TrainSettings::validation_share,
        "Share held out for validation (default 0.15)")
        ->check(within(limits::kValidationShare));
  }
  if (use != SettingsFor::rows)
    overrides_.emplace_back(command.add_option("--model", model_name_,
                                               fmt::format("Network (default {})",
                                                           d.model.at("model").get<std::string>())),
                            [this](TrainSettings& s) { s.model["model"] = model_name_; });
  if (!classifier)
    overrides_.emplace_back(
        command.add_option("--width", width_, "Channels of the UNet's first block (default 32)")
            ->check(within(limits::kWidth)),
        [this](TrainSettings& s) { s.model["width"] = width_; });
  add(command, "--weights", &TrainSettings::weights,
      "Start from these weights (safetensors, .pt, .pth)");
  add(command, "--size", &TrainSettings::size,
      classifier ? "Side of the square input (default 224)"
                 : "Side of the square input (default 512)")
      ->check(within(limits::kSize));
  add(command, "--intensity", &TrainSettings::intensity,
      "Which stored value is white: the largest of the effective bit depth (depth, default), of "
      "the "
      "file's samples (full), or the 99.5th percentile (percentiles)")
      ->check(CLI::IsMember(intensity_names()));
  add(command, "--epochs", &TrainSettings::epochs, "Epochs (default 25)")
      ->check(within(limits::kEpochs));
  add(command, "--batch", &TrainSettings::batch,
      classifier ? "Batch size (default 8)" : "Batch size (default 4)")
      ->check(within(limits::kBatch));
  overrides_.emplace_back(command
                              .add_option("--lr", lr_,
                                          classifier ? "Learning rate (default 0.0005)"
                                                     : "Learning rate (default 0.001)")
                              ->check(within(limits::kLearningRate)),
                          [this](TrainSettings& s) { s.schedule["lr"] = lr_; });
  overrides_.emplace_back(
      command.add_option("--optimizer", optimizer_, "sgd or adamw")
          ->check(CLI::IsMember({"sgd", "adamw"})),
      [this](TrainSettings& s) {
        if (s.optimizer.at("name") != optimizer_)
          s.optimizer =
              optimizer_ == "sgd"
                  ? nlohmann::json{{"name", "sgd"}, {"momentum", 0.8}, {"weight_decay", 1e-4}}
                  : nlohmann::json{{"name", "adamw"}, {"weight_decay", 1e-4}};
      });
  overrides_.emplace_back(
      command.add_option("--schedule", schedule_, "constant, step, cosine or poly")
          ->check(CLI::IsMember({"constant", "step", "cosine", "poly"})),
      [this](TrainSettings& s) {
        if (s.schedule.at("name") == schedule_) return;
        s.schedule = {{"name", schedule_}, {"unit", "steps"}, {"lr", s.schedule.at("lr")}};
      });
  overrides_.emplace_back(
      command.add_option("--augment", augment_, "study (default), light or none")
          ->check(CLI::IsMember({"study", "light", "none"})),
      [this](TrainSettings& s) { s.augment = augment_; });
  if (classifier) {
    add(command, "--class-weights", &TrainSettings::class_weights,
        "Weights of the classes in the loss: none (default), balanced (by the images of each), or "
        "NAME=W,NAME=W,... (the others 1)");
    add(command, "--label-smoothing", &TrainSettings::label_smoothing,
        "Share of a label that is spread over all classes, 0 to 0.5 (default 0)")
        ->check(within(limits::kLabelSmoothing));
    add(command, "--sampling", &TrainSettings::sampling,
        "What an epoch draws: every image once (uniform, default), or as many images, every class "
        "as often, of several findings an image by the rarest one that it has (balanced)")
        ->check(CLI::IsMember({"uniform", "balanced"}));
    if (use != SettingsFor::trial)
      add(command, "--tta", &TrainSettings::tta,
          "Judge by the mean over each image and its mirror image, left and right swapped: flip "
          "(default none)")
          ->check(CLI::IsMember({"none", "flip"}));
  }
  if (!classifier) {
    add(command, "--loss", &TrainSettings::loss,
        "dice (default), generalised-dice (Sudre et al. 2017), or dice+ce (with cross entropy, as "
        "nnU-Net)")
        ->check(CLI::IsMember(kLosses));
    add(command, "--activation", &TrainSettings::activation,
        "softmax: every pixel is one organ's or background; sigmoid: each organ by itself, organs "
        "may overlap; auto (default): softmax for label maps, else sigmoid")
        ->check(CLI::IsMember(kActivations));
  }
  add(command, "--clip-norm", &TrainSettings::clip_norm,
      "Upper limit of the gradient norm (default 1; 0 = none)")
      ->check(within(limits::kClipNorm));
  add(command, "--norm-batches", &TrainSettings::norm_batches,
      "Training batches over which batch norm's statistics are measured before a validation "
      "(default 16; 0 = keep the moving averages)")
      ->check(within(limits::kNormBatches));
  add(command, "--early-stop", &TrainSettings::early_stop,
      classifier ? "End after so many epochs in a row without a lower validation loss; the result "
                   "is of the last epoch, best.safetensors of the best (default 0 = never)"
                 : "End after so many epochs in a row without a higher validation Dice; the result "
                   "is of the last epoch, best.safetensors of the best (default 0 = never)")
      ->check(within(limits::kEarlyStop));
  add(command, "--freeze", &TrainSettings::freeze,
      "Parameters that stay as they are, by name: 'conv1.*,layer1.*' (*, ?, [..]; see thorax "
      "weights show); batch norm that is frozen goes by its running statistics")
      ->delimiter(',');
  add(command, "--accumulate", &TrainSettings::accumulate,
      "Batches whose gradients make one step; an epoch's last step takes what is left (default 1)")
      ->check(within(limits::kAccumulate));
  add(command, "--pieces", &TrainSettings::pieces,
      "Parts of a batch that are computed by themselves, which the ranks of mpirun share; the bits "
      "of a run depend on it, not on the ranks (default 1; several ranks: as many, or more to "
      "divide the batch)")
      ->check(within(limits::kPieces));
  add(command, "--ema", &TrainSettings::ema,
      "Judge and keep the exponential moving average of the weights with this decay, e.g. 0.999 "
      "(default 0 = the weights of the last step)")
      ->check(within(limits::kEma));
  add(command, "--precision", &TrainSettings::precision,
      "Type of the activations: float32 (default), or float16 or bfloat16 on a GPU")
      ->check(CLI::IsMember({"float32", "float16", "bfloat16"}));
  add(command, "--seed", &TrainSettings::seed, "Seed of everything random (default 0)")
      ->check(within(limits::kSeed));
  add(command, "--workers", &TrainSettings::workers,
      "Threads that read and augment images (default 1)")
      ->check(within(limits::kWorkers));
  add(command, "--cache-mb", &TrainSettings::cache_mb, "Memory for decoded images (default 2048)")
      ->check(within(limits::kCacheMb));
  add(command, "--checkpoint-seconds", &TrainSettings::checkpoint_seconds,
      "Time between checkpoints (default 300)")
      ->check(within(limits::kCheckpointSeconds));
  command.add_flag("--graph", graph,
                   "Capture a training step once and replay it as one launch (cuda and sim); the "
                   "same bits");
  add_compute_options(command, compute);
}

// Where neither the command nor a file says it: as the run that goes on began, else by the ranks.
void SettingsOptions::choose_pieces(TrainSettings& s) const {
  const int count = ranks().size();
  const std::filesystem::path config = out / "config.json";
  if (s.pieces == 0 && resume && std::filesystem::exists(config))
    s.pieces = load_run_config(config).at("settings").value("pieces", std::int64_t{1});
  if (count == 1) return;
  if (s.pieces == 0) s.pieces = pieces_for(s.batch, count);
  THORAX_CHECK(count <= s.pieces * s.accumulate,
               "[dist] {} ranks share out the {} pieces of a step; each needs one: more --pieces "
               "(of a new run), or fewer ranks",
               count, s.pieces * s.accumulate);
  THORAX_CHECK(
      !compute.autotune,
      "[dist] --autotune and {} ranks: each would choose its own kernels, with other bits; "
      "leave it out",
      count);
  s.cache_mb /= ranks().local_size();
}

TrainSettings SettingsOptions::settings() const {
  TrainSettings s = preset_settings(task_, preset_.empty() ? "default" : preset_);
  if (!config_file_.empty()) merge_file(s, config_file_);
  // --schedule before --lr: changing the kind keeps the rate that was set.
  for (const bool lr_pass : {false, true})
    for (const auto& [option, copy] : overrides_)
      if (option->count() > 0 && (option->get_name() == "--lr") == lr_pass) copy(s);
  THORAX_CHECK(!s.data.empty(), "[{}] give --data kind:PATH (see thorax data --help)",
               name_of(task_));
  choose_pieces(s);
  THORAX_CHECK(!graph || s.pieces <= 1,
               "[graph] --graph and --pieces {}: only steps of one batch are captured; leave one "
               "of them out",
               s.pieces);
  THORAX_CHECK(!graph || s.accumulate == 1,
               "[graph] --graph and --accumulate {}: only steps of one batch are captured; leave "
               "one of them out",
               s.accumulate);
  check_settings(s);
  return s;
}

}  // namespace thorax::app
