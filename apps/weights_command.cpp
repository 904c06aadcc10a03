// `thorax weights`: look into a file of weights, turn published ones into a model file.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/console.h"
#include "apps/inference/model_file.h"
#include "apps/number_checks.h"
#include "apps/report/text.h"
#include "engine/io/config.h"
#include "engine/io/json_text.h"
#include "engine/io/output_folder.h"
#include "engine/io/safetensors.h"
#include "models/factory.h"

namespace thorax::app {
namespace {

using Json = nlohmann::ordered_json;

// No more than `most` bytes of a text from a file, on one line.
std::string printable(const std::string& text, std::size_t most = 200) {
  return text.size() <= most ? visible(text) : visible(text.substr(0, most)) + "...";
}

// "F8_E4M3" -> "f8_e4m3"
std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// 1234567 -> "1,234,567"
std::string grouped(std::int64_t value) {
  std::string text = std::to_string(value);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

// What an optimizer learns, as opposed to batch norm's running statistics and, in a training
// checkpoint, the optimizer's own state.
bool is_parameter(const std::string& name, bool checkpoint) {
  return !name.ends_with("running_mean") && !name.ends_with("running_var") &&
         !name.ends_with("num_batches_tracked") && (!checkpoint || name.starts_with("model."));
}

void show(const std::string& file, bool as_json) {
  std::vector<std::string> notes;
  const SafetensorsHeader header = read_weight_list(file, notes);
  // Reading the whole file compares the checksum; files without one may hold any type and are not
  // read.
  const bool verified = has_checksum(header.metadata);
  if (verified) read_safetensors(file);
  const bool checkpoint =
      std::any_of(header.entries.begin(), header.entries.end(),
                  [](const SafetensorsEntry& e) { return e.name.starts_with("model."); });
  Json tensors = Json::array();
  std::int64_t parameters = 0, others = 0;
  std::uint64_t bytes = 0;
  std::size_t width = 4;
  for (const SafetensorsEntry& e : header.entries) {
    std::int64_t count = 1;
    for (const std::int64_t extent : e.shape) count *= extent;
    const bool learned = is_parameter(e.name, checkpoint);
    (learned ? parameters : others) += count;
    bytes += e.end - e.begin;
    width = std::max(width, printable(e.name).size());
    tensors.push_back({{"name", e.name},
                       {"dtype", lower_case(e.type)},
                       {"shape", e.shape},
                       {"parameters", learned ? count : 0}});
  }
  if (as_json) {
    const Json all{{"file", file},
                   {"tensors", tensors},
                   {"metadata", header.metadata},
                   {"notes", notes},
                   {"verified", verified},
                   {"totals",
                    {{"tensors", tensors.size()},
                     {"parameters", parameters},
                     {"other_values", others},
                     {"bytes", bytes}}}};
    fmt::print("{}\n", dump_json(all, 2));
    return;
  }
  fmt::print("{:<{}}  {:<5}  {:<16} {:>12}\n", "name", width, "type", "shape", "parameters");
  for (const Json& tensor : tensors) {
    const auto shape = tensor["shape"].get<std::vector<std::int64_t>>();
    const bool learned = is_parameter(tensor["name"], checkpoint);
    fmt::print("{:<{}}  {:<5}  {:<16} {:>12}\n", printable(tensor["name"]), width,
               tensor["dtype"].get<std::string>(),
               shape.empty() ? "scalar" : fmt::format("{}", fmt::join(shape, "x")),
               learned ? grouped(tensor["parameters"]) : "-");
  }
  if (!header.metadata.empty()) fmt::print("\nmetadata\n");
  for (const auto& [key, value] : header.metadata)
    fmt::print("  {}: {}\n", printable(key), printable(value));
  for (const std::string& note : notes) fmt::print("\n{}", printable(note, 1000));
  fmt::print("\n{} tensors, {} parameters, {} other values, {:.1f} MB; checksum: {}\n",
             tensors.size(), grouped(parameters), grouped(others), static_cast<double>(bytes) / 1e6,
             verified ? "correct" : "none, damage would not be noticed");
}

struct ConvertOptions {
  std::string file, model, out, config, head;
  std::int64_t in_channels = 0, outputs = 0, seed = 0;
  bool json = false;
};

void print_list(const char* title, const std::vector<std::string>& list) {
  constexpr std::size_t kShown = 6;
  if (list.empty()) return;
  fmt::print("{:<9} {}\n", title, list.size());
  for (std::size_t i = 0; i < std::min(kShown, list.size()); ++i)
    fmt::print("          {}\n", printable(list[i]));
  if (list.size() > kShown) fmt::print("          and {} more\n", list.size() - kShown);
}

void convert(const ConvertOptions& o) {
  namespace fs = std::filesystem;
  THORAX_CHECK(!fs::exists(o.out) || !fs::equivalent(o.file, o.out),
               "[weights] {}: would be replaced by its own conversion; name another --out", o.file);
  check_output_file(o.out);
  nlohmann::json config = nlohmann::json::object();
  if (!o.config.empty()) config = load_config_file(o.config);
  THORAX_CHECK(config.is_object(), "[weights] {}: wants a JSON object or TOML", o.config);
  config["model"] = o.model;
  if (!o.head.empty()) config["head"] = o.head;
  if (o.in_channels > 0) config["in_channels"] = o.in_channels;
  if (o.outputs > 0) config["outputs"] = o.outputs;
  const std::unique_ptr<Model> model = create_model(config, static_cast<std::uint64_t>(o.seed));
  WeightFile weights = read_weight_file(o.file);
  if (!weights.pytorch) print_notes(unverified_notes(weights.metadata, o.file));
  const WeightReport report =
      load_model_weights(*model, std::move(weights), o.file, WeightUse::adapt);
  std::vector<std::string> renamed;
  for (const auto& [before, now] : report.renamed)
    renamed.push_back(fmt::format("{} -> {}", before, now));
  const std::size_t all = model->state_dict().size(), loaded = all - report.missing.size();
  const Json json{
      {"file", o.file},
      {"model", model->config()},
      {"out", o.out},
      {"loaded", loaded},
      {"notes", report.notes},
      {"prefix", report.prefix},
      {"renamed", renamed},
      {"adapted", report.adapted},
      {"left_out", report.left_out},
      {"left_out_because", report.left_out.empty() ? std::string() : report.head_reason},
      {"new", report.missing}};
  save_model(*model, o.out,
             {{"thorax.source", to_json_text(fs::path(o.file).filename().string())}});
  if (o.json) {
    fmt::print("{}\n", dump_json(json, 2));
    return;
  }
  fmt::print("{}: {} of {} tensors from {} -> {}\n", o.model, loaded, all, o.file, o.out);
  for (const std::string& note : report.notes) fmt::print("note      {}\n", printable(note, 1000));
  if (!report.prefix.empty()) fmt::print("prefix    '{}' taken off\n", printable(report.prefix));
  print_list("renamed", renamed);
  print_list("adapted", report.adapted);
  print_list("left out", report.left_out);
  if (!report.left_out.empty()) fmt::print("          because {}\n", printable(report.head_reason));
  print_list("new", report.missing);
}

void add_show(CLI::App& weights) {
  static std::string file;
  static bool json = false;
  CLI::App* c = weights.add_subcommand("show", "Tensors, metadata and totals of a file");
  c->add_option("file", file,
                "Weights, a model or a checkpoint: safetensors, or PyTorch's .pt and .pth")
      ->required();
  c->add_flag("--json", json, "Print JSON");
  c->footer("Example:\n  thorax weights show runs/kfold/fold_0/last.safetensors");
  c->callback([] { show(file, json); });
}

void add_convert(CLI::App& weights) {
  static ConvertOptions o;
  CLI::App* c = weights.add_subcommand(
      "convert", "Published weights (timm's or torchvision's names) to a file of this program");
  c->add_option("file", o.file, "State dict as safetensors, .pt or .pth")->required();
  c->add_option("--model", o.model, "The network (see models/README.md)")
      ->required()
      ->check(CLI::IsMember(model_names()));
  c->add_option("--out", o.out, "The model file to write")->required();
  c->add_option("--in-channels", o.in_channels,
                "Channels of the image (default 3); 1 sums the first filter over its colours")
      ->check(in_range(1, 1 << 20));
  c->add_option("--head", o.head, "imagenet (default): the file's own; study: new layers")
      ->check(CLI::IsMember({"imagenet", "study"}));
  c->add_option("--outputs", o.outputs, "Outputs of the head (default 1000, or 1 with study)")
      ->check(in_range(1, 1 << 20));
  c->add_option("--config", o.config, "JSON or TOML file (.toml) with more keys of the model");
  c->add_option("--seed", o.seed, "Seed of what is new")->capture_default_str()->check(kSeed);
  c->add_flag("--json", o.json, "Print JSON");
  c->footer(
      "Example:\n"
      "  thorax weights convert resnet152.pth --model resnet152 --in-channels 1 \\\n"
      "    --head study --out resnet152_gray.safetensors");
  c->callback([] { convert(o); });
}

void add(CLI::App& root) {
  CLI::App* weights =
      root.add_subcommand("weights", "Look into weight files, convert published ones");
  weights->require_subcommand(1);
  add_show(*weights);
  add_convert(*weights);
}

}  // namespace
THORAX_COMMAND(70, add)
}  // namespace thorax::app
