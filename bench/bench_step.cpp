// Times one training step or one inference of a model: the same work, flags and output as
// peers/torch_step.py, to be held against it.
//
// A training step is forward, loss, backward and SGD with momentum 0.9; UNet: Dice with logits
// (squared denominator), classifiers: two classes, cross entropy. Inference is eval mode with
// gradients off. With --graph it is captured once and replayed. On a GPU the clock is read when the
// device has finished, as PyTorch's side does. Weights and inputs come from peers/hashfill.h unless
// files are given. The dump is made before timing starts: `logits`, and in train mode `loss` and
// `grad.<name>`, in PyTorch's order.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/bench/step_timing.h"
#include "bench/peers/hashfill.h"
#include "engine/io/safetensors.h"
#include "engine/optim/step.h"
#include "engine/registry/registry.h"
#include "engine/runtime/allocator.h"
#include "engine/runtime/device.h"
#include "engine/runtime/graph.h"
#include "engine/runtime/parallel.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dice_loss/dice_loss.h"
#include "models/factory.h"

namespace {

using namespace thorax;

struct Arguments {
  std::string model = "unet", mode = "train", weights, inputs, dump, providers, profile;
  std::string device_name = "cpu", precision_name = "float32";
  std::int64_t size = 0, batch = 0;
  int threads = 2, repeat = 5, warmup = 1;
  bool recompute = false, json = false, graph = false;
  bool unet() const { return model == "unet"; }
  Device device() const { return parse_device(device_name); }
  DType precision() const {
    return precision_name == "float16"    ? DType::f16
           : precision_name == "bfloat16" ? DType::bf16
                                          : DType::f32;
  }
};

// Peak resident memory in MB. Not getrusage's ru_maxrss: that one survives exec, so a program
// started by a large one would report its parent's.
double rss_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  return 0;
}

class Step {
 public:
  explicit Step(const Arguments& args) : args_(args) {
    nlohmann::json config = {{"model", args.model}, {"recompute", args.recompute}};
    if (!args.unet()) config["outputs"] = 2;
    model_ = create_model(config);
    if (args.weights.empty()) {
      hashfill::fill(*model_);
    } else {
      load_model_weights(*model_, args.weights);
    }
    const Shape shape{args.batch, args.size, args.size, args.unet() ? 1 : 3};
    if (args.inputs.empty()) {
      input_ = Variable(hashfill::input(shape));
      target_ = args.unet() ? hashfill::mask(shape) : hashfill::classes(args.batch, 2);
    } else {
      const SafetensorsFile given = read_safetensors(args.inputs, FileOrder::pytorch);
      for (const char* name : {"input", "target"})
        THORAX_CHECK(given.tensors.contains(name), "[bench_step] {}: no tensor '{}'", args.inputs,
                     name);
      input_ = Variable(given.tensors.at("input"));
      target_ = given.tensors.at("target");
      THORAX_CHECK(input_.shape() == shape, "[bench_step] {}: input {}, wanted {}", args.inputs,
                   input_.shape(), shape);
    }
    model_->to(args.device());
    input_ = Variable(input_.value().to(args.device()));
    target_ = target_.to(args.device());
    model_->train(args.mode == "train");
    if (args.mode == "train") {
      for (const auto& [name, variable] : model_->parameters())
        momentum_.push_back(Tensor::zeros(variable.shape(), DType::f32, args.device()));
    }
  }

  void run() {
    if (args_.mode == "train") {
      gradients();
      const auto parameters = model_->parameters();
      const ProfileScope scope("sgd", "step");
      std::vector<SgdUpdate> updates;
      for (std::size_t i = 0; i < parameters.size(); ++i)
        updates.push_back({{.lr = 1e-3, .momentum = 0.9, .first = first_},
                           parameters[i].variable.value(),
                           parameters[i].variable.grad(),
                           momentum_[i]});
      sgd_step(updates);
      first_ = false;
    } else {
      infer();
    }
  }

  void dump(const std::string& path) {
    std::map<std::string, Tensor> tensors;
    if (args_.mode == "train") {
      const auto [logits, loss] = gradients();
      tensors["logits"] = logits;
      tensors["loss"] = loss;
      for (const auto& [name, variable] : model_->parameters())
        tensors["grad." + name] = variable.grad().to(Device{}).clone();
    } else {
      tensors["logits"] = infer();
    }
    write_safetensors(path, tensors, {}, FileOrder::pytorch);
  }

 private:
  std::pair<Tensor, Tensor> gradients() {
    model_->zero_grad();
    const Variable logits = model_->logits(input_, args_.precision());
    const Variable loss =
        args_.unet() ? dice_loss(logits, target_) : cross_entropy(logits, target_);
    const std::pair<Tensor, Tensor> values{logits.value(), loss.value()};
    backward(loss);
    return values;
  }
  Tensor infer() {
    const NoGrad no_grad;
    return model_->logits(input_, args_.precision()).value();
  }

  const Arguments& args_;
  std::unique_ptr<Model> model_;
  Variable input_;
  Tensor target_;
  std::vector<Tensor> momentum_;
  bool first_ = true;
};

void print_profile(const Arguments& args, Step& step, double median) {
  const app::StepProfile profile = app::profile_step(
      args.device(), args.profile == "shapes" ? ProfileLevel::shapes : ProfileLevel::operations,
      [&] { step.run(); });
  fmt::print(stderr, "  {} {}: {:.4f} s with the profile on (median without: {:.4f} s)\n{}",
             args.model, args.mode, profile.seconds, median, app::profile_text(profile));
}

int measure(const Arguments& args) {
  set_num_threads(args.threads);
  if (!args.providers.empty()) choose_providers(args.providers);
  const double before = rss_mb();
  const DeviceScope on(args.device());
  Step step(args);
  if (!args.dump.empty()) step.dump(args.dump);
  std::vector<double> times;
  Graph graph;
  if (args.graph) {
    // Leaves behind the memory that the capture asks for.
    for (int i = 0; i < 2; ++i) step.run();
    graph = Graph::capture(args.device(), [&] { step.run(); });
  }
  for (int i = 0; i < args.warmup + args.repeat; ++i) {
    if (i == args.warmup) allocator(args.device()).reset_peak();
    const double seconds = app::seconds_of(args.device(), [&] {
      if (args.graph) {
        graph.replay();
      } else {
        step.run();
      }
    });
    if (i >= args.warmup) times.push_back(seconds);
  }
  const double peak = rss_mb();
  const AllocatorStats stats = allocator(args.device()).stats();
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  constexpr double kMega = 1024.0 * 1024.0;
  const nlohmann::json row = {
      {"program", "thorax"},
      {"model", args.model},
      {"mode", args.mode},
      {"size", args.size},
      {"batch", args.batch},
      {"layout", "nhwc"},
      {"threads", args.threads},
      {"repeat", args.repeat},
      {"recompute", args.recompute},
      {"device", device_info(args.device()).name},
      {"precision", args.precision_name},
      {"graph", args.graph},
      {"min_s", times.front()},
      {"median_s", median},
      {"peak_rss_mb", peak},
      {"import_rss_mb", before},
      {"peak_tensors_mb", static_cast<double>(stats.peak_in_use) / kMega},
  };
  if (args.json) {
    fmt::print("{}\n", row.dump());
  } else {
    fmt::print(
        "{} {} {}x{} batch {} {} threads: min {:.3f} s, median {:.3f} s, peak {:.0f} MB ({:.0f} MB "
        "before the model was built, tensors {:.0f} MB)\n",
        args.model, args.mode, args.size, args.size, args.batch, args.threads, times.front(),
        median, peak, before, static_cast<double>(stats.peak_in_use) / kMega);
  }
  std::fflush(stdout);
  if (!args.profile.empty()) print_profile(args, step, median);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments args;
  CLI::App app("Time one training step or one inference of a model.");
  app.add_option("--model", args.model, "one of the models of models/factory.h")
      ->required()
      ->check(CLI::IsMember(thorax::model_names()));
  app.add_option("--mode", args.mode)->check(CLI::IsMember({"train", "infer"}));
  app.add_option("--size", args.size, "default 512 for unet, else 224");
  app.add_option("--batch", args.batch, "default 1 for unet, else 8");
  app.add_option("--threads", args.threads)->check(CLI::PositiveNumber);
  app.add_option("--device", args.device_name, "cpu, cuda or sim")->capture_default_str();
  app.add_option("--precision", args.precision_name, "of activations, on cuda and sim")
      ->check(CLI::IsMember({"float32", "float16", "bfloat16"}))
      ->capture_default_str();
  app.add_option("--weights", args.weights, "safetensors state dict (default: hashfill)");
  app.add_option("--inputs", args.inputs,
                 "safetensors with `input` and `target` (default: hashfill)");
  app.add_option("--repeat", args.repeat)->check(CLI::PositiveNumber);
  app.add_option("--warmup", args.warmup)->check(CLI::NonNegativeNumber);
  app.add_option("--dump", args.dump, "write logits, loss and gradients here");
  app.add_option("--providers", args.providers, "e.g. conv2d=reference,batch_norm=reference");
  app.add_flag("--recompute", args.recompute, "forget activations inside blocks");
  app.add_option("--profile", args.profile,
                 "time per operation to stderr: operations (default) or shapes")
      ->expected(0, 1)
      ->default_str("operations")
      ->check(CLI::IsMember({"operations", "shapes"}));
  app.add_flag("--graph", args.graph, "capture the step and replay it; on cuda and sim");
  app.add_flag("--json", args.json);
  CLI11_PARSE(app, argc, argv);
  if (args.size == 0) args.size = args.unet() ? 512 : 224;
  if (args.batch == 0) args.batch = args.unet() ? 1 : 8;
  try {
    return measure(args);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_step: {}\n", error.what());
    return 1;
  }
}
