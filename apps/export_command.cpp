// `thorax export`: a trained network as a file for other programs.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/console.h"
#include "apps/inference/model_file.h"
#include "apps/report/text.h"
#include "engine/io/atomic_file.h"
#include "engine/io/checksum.h"
#include "engine/io/json_text.h"
#include "engine/io/output_folder.h"
#include "engine/io/safetensors.h"
#include "models/onnx/export.h"
#include "models/weights.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string file, onnx, preprocess = "graph";
  bool json = false;
};

// What a caller must know who has only the file: also readable without this program.
nlohmann::json contract(const ModelInput& input, bool in_graph) {
  nlohmann::json json{
      {"layout", "NCHW"},
      {"size", input.size},
      {"view", name_of(input.view)},
      {"pixels", in_graph ? "gray, 0..1 (0 = black, 1 = the largest value by 'intensity')"
                          : "gray, (x - mean) / deviation with x in 0..1"},
      {"intensity", name_of(input.intensity)},
      {"mean", kInputMean},
      {"deviation", kInputDeviation},
      {"normalised_in_graph", in_graph}};
  return json;
}

// What each channel of the outputs is of; of two classes there is one, the positive one.
std::vector<std::string> channel_names(const ModelInput& input) {
  if (input.task == "segmenter") {
    if (input.organs.plain()) return {"lung"};
    std::vector<std::string> names = input.organs.organs;
    if (input.organs.softmax) names.insert(names.begin(), "background");
    return names;
  }
  if (input.classes.size() == 2 && !input.multilabel) return {input.classes.back()};
  return input.classes;
}

// Classes and label maps exclude each other; findings and organs with a sigmoid each do not.
bool exclusive(const ModelInput& input) {
  if (input.task == "segmenter") return input.organs.softmax;
  return input.classes.size() > 2 && !input.multilabel;
}

void run(const Options& o) {
  THORAX_CHECK(!is_onnx_file(o.file), "[export] {}: an ONNX file already; export its checkpoint",
               o.file);
  const ModelInput claimed = read_model_input(fs::path(o.file));
  const TrainedModel trained = load_trained(o.file, claimed.task);
  print_notes(trained.notes);
  const ModelInput& input = trained.input;
  THORAX_CHECK(!fs::exists(o.onnx) || !fs::equivalent(o.file, o.onnx),
               "[export] {}: would be replaced by its own export; name another --onnx", o.file);

  check_output_file(o.onnx);

  onnx::ExportOptions options;
  options.channels = trained.model->config().at("in_channels").get<std::int64_t>();
  options.height = options.width = input.size;
  options.activation = exclusive(input) ? onnx::Activation::softmax : onnx::Activation::sigmoid;
  options.preprocess = o.preprocess == "graph";
  options.mean = kInputMean;
  options.deviation = kInputDeviation;
  options.producer_version = THORAX_VERSION;
  options.metadata = read_safetensors_header(o.file).metadata;
  std::erase_if(options.metadata, [](const auto& entry) {
    return entry.first != "thorax.model" && !entry.first.starts_with("thorax.input") &&
           entry.first != "thorax.threshold" && entry.first != kThresholdsKey &&
           entry.first != "thorax.temperature";
  });
  const std::vector<std::string> channels = channel_names(input);
  options.metadata["channels"] = dump_json(nlohmann::json(channels));
  if (input.task == "classifier")
    options.metadata["classes"] = dump_json(nlohmann::json(input.classes));
  options.metadata["preprocessing"] = dump_json(contract(input, options.preprocess));
  const onnx::Exported exported = onnx::export_model(*trained.model, options);
  atomic_write(o.onnx, exported.bytes);

  nlohmann::ordered_json summary{
      {"file", o.onnx},
      {"bytes", exported.bytes.size()},
      {"opset", onnx::kOpset},
      {"task", input.task},
      {"input",
       {{"name", "image"},
        {"shape", {"batch", options.preprocess ? 1 : options.channels, input.size, input.size}}}},
      {"outputs", {"logits", "probability"}},
      {"activation", exclusive(input) ? "softmax" : "sigmoid"},
      {"channels", channels},
      {"classes", input.task == "classifier" ? input.classes : std::vector<std::string>()},
      {"weights", exported.weights},
      {"operators", exported.operators}};
  if (o.json) {
    fmt::print("{}\n", dump_json(summary, 2));
    return;
  }
  std::string operators;
  for (const auto& [type, count] : exported.operators)
    operators += fmt::format("{}{} {}", operators.empty() ? "" : ", ", count, type);
  fmt::print("{}: {}, opset {}, {:.1f} MB\n", o.onnx, input.task, onnx::kOpset,
             static_cast<double>(exported.bytes.size()) / 1e6);
  fmt::print("  image        batch x {} x {} x {}, {}\n", options.preprocess ? 1 : options.channels,
             input.size, input.size,
             options.preprocess ? "gray pixels 0..1"
                                : fmt::format("(x - {}) / {} of gray pixels x in 0..1", kInputMean,
                                              kInputDeviation));
  fmt::print("  logits, probability of {} ({})\n",
             visible(fmt::format("{}", fmt::join(channels, ", "))),
             exclusive(input)      ? "softmax"
             : channels.size() > 1 ? "a sigmoid each"
                                   : "sigmoid");
  fmt::print("  {} weights; {}\n", exported.weights, operators);
}

void add(CLI::App& root) {
  static Options o;
  CLI::App* c = root.add_subcommand("export", "A trained network as an ONNX file");
  c->add_option("file", o.file, "Checkpoint of a segmenter or classifier")->required();
  c->add_option("--onnx", o.onnx, "The file to write")->required();
  c->add_option("--preprocess", o.preprocess,
                "Where pixels are normalised: graph (its input is gray pixels 0..1), or caller")
      ->capture_default_str()
      ->check(CLI::IsMember({"graph", "caller"}));
  c->add_flag("--json", o.json, "Print JSON");
  c->footer(
      "Example:\n  thorax export runs/covid/last.safetensors --onnx covid.onnx\n\n"
      "Images are to be cut to the view and scaled to the size that the metadata name.");
  c->callback([] { run(o); });
}

}  // namespace
THORAX_COMMAND(75, add)
}  // namespace thorax::app
