// `thorax weights`: look into a safetensors file, turn published weights into a model file.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/number_checks.h"
#include "engine/io/config.h"
#include "engine/io/safetensors.h"
#include "models/factory.h"

namespace thorax::app {
namespace {

using Json = nlohmann::ordered_json;

// Text from a file may hold anything: control characters, which a terminal would obey, as escapes,
// and no more than `most` bytes.
std::string printable(const std::string& text, std::size_t most = 200) {
  std::string result;
  for (const char c : text) {
    if (result.size() >= most) return result + "...";
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result;
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
  const SafetensorsHeader header = read_safetensors_header(file);
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
                       {"dtype", name_of(e.dtype)},
                       {"shape", e.shape},
                       {"parameters", learned ? count : 0}});
  }
  if (as_json) {
    const Json all{{"file", file},
                   {"tensors", tensors},
                   {"metadata", header.metadata},
                   {"totals",
                    {{"tensors", tensors.size()},
                     {"parameters", parameters},
                     {"other_values", others},
                     {"bytes", bytes}}}};
    fmt::print("{}\n", all.dump(2));
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
  fmt::print("\n{} tensors, {} parameters, {} other values, {:.1f} MB\n", tensors.size(),
             grouped(parameters), grouped(others), static_cast<double>(bytes) / 1e6);
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
  nlohmann::json config = nlohmann::json::object();
  if (!o.config.empty()) config = load_json(o.config);
  THORAX_CHECK(config.is_object(), "[weights] {}: wants a JSON object", o.config);
  config["model"] = o.model;
  if (!o.head.empty()) config["head"] = o.head;
  if (o.in_channels > 0) config["in_channels"] = o.in_channels;
  if (o.outputs > 0) config["outputs"] = o.outputs;
  const std::unique_ptr<Model> model = create_model(config, static_cast<std::uint64_t>(o.seed));
  const WeightReport report = load_model_weights(*model, o.file, WeightUse::adapt);
  std::vector<std::string> renamed;
  for (const auto& [before, now] : report.renamed)
    renamed.push_back(fmt::format("{} -> {}", before, now));
  const std::size_t all = model->state_dict().size(), loaded = all - report.missing.size();
  const Json json{{"file", o.file},
                  {"model", model->config()},
                  {"out", o.out},
                  {"loaded", loaded},
                  {"renamed", renamed},
                  {"adapted", report.adapted},
                  {"left_out", report.left_out},
                  {"new", report.missing}};
  save_model(*model, o.out, {{"thorax.source", fs::path(o.file).filename().string()}});
  if (o.json) {
    fmt::print("{}\n", json.dump(2));
    return;
  }
  fmt::print("{}: {} of {} tensors from {} -> {}\n", o.model, loaded, all, o.file, o.out);
  print_list("renamed", renamed);
  print_list("adapted", report.adapted);
  print_list("left out", report.left_out);
  print_list("new", report.missing);
}

void add_show(CLI::App& weights) {
  static std::string file;
  static bool json = false;
  CLI::App* c = weights.add_subcommand("show", "Tensors, metadata and totals of a file");
  c->add_option("file", file, "A safetensors file: weights, a model, a checkpoint")->required();
  c->add_flag("--json", json, "Print JSON");
  c->footer("Example:\n  thorax weights show runs/kfold/fold_0/last.safetensors");
  c->callback([] { show(file, json); });
}

void add_convert(CLI::App& weights) {
  static ConvertOptions o;
  CLI::App* c = weights.add_subcommand(
      "convert", "Published weights (timm's or torchvision's names) to a file of this program");
  c->add_option("file", o.file, "State dict as safetensors")->required();
  c->add_option("--model", o.model, "The network (see models/README.md)")
      ->required()
      ->check(CLI::IsMember(model_names()));
  c->add_option("--out", o.out, "The model file to write")->required();
  c->add_option("--in-channels", o.in_channels,
                "Channels of the image (default 3); 1 sums the first filter over its colours")
      ->check(kPositive);
  c->add_option("--head", o.head, "imagenet (default): the file's own; study: new layers")
      ->check(CLI::IsMember({"imagenet", "study"}));
  c->add_option("--outputs", o.outputs, "Outputs of the head (default 1000, or 1 with study)")
      ->check(kPositive);
  c->add_option("--config", o.config, "JSON file with more keys of the model");
  c->add_option("--seed", o.seed, "Seed of what is new")
      ->capture_default_str()
      ->check(kNonNegative);
  c->add_flag("--json", o.json, "Print JSON");
  c->footer(
      "Example:\n"
      "  thorax weights convert resnet152.safetensors --model resnet152 --in-channels 1 \\\n"
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
