#include "apps/inference/model_file.h"

#include <fmt/format.h>

#include "engine/io/config.h"
#include "engine/io/safetensors.h"
#include "models/factory.h"
#include "models/onnx/import.h"

namespace thorax {

namespace fs = std::filesystem;

namespace {

// A file of `thorax export`: its metadata say what a checkpoint's say.
TrainedModel load_onnx(const fs::path& file, const onnx::ParsedFile& parsed) {
  const std::string name = file.string();
  ModelInput input = read_model_input(parsed.metadata, name);
  onnx::Imported network = onnx::import_model(parsed);
  if (!network.normalises) {
    const auto found = parsed.metadata.find("preprocessing");
    THORAX_CHECK(found != parsed.metadata.end(),
                 "[model] {}: neither the graph nor metadata 'preprocessing' says how pixels are "
                 "normalised; thorax export writes both",
                 name);
    const std::string what = name + ": metadata 'preprocessing'";
    const ConfigObject said(parse_json(found->second, what), what);
    network.mean = said.number("mean");
    network.deviation = said.number("deviation");
  }
  THORAX_CHECK(network.mean == kInputMean && network.deviation == kInputDeviation,
               "[model] {}: its pixels are (x - {}) / {}; networks here take (x - {}) / {}", name,
               network.mean, network.deviation, kInputMean, kInputDeviation);
  for (const std::int64_t side : {network.height, network.width})
    THORAX_CHECK(side == -1 || side == input.size,
                 "[model] {}: its input is {} x {}, its metadata say {}", name, network.height,
                 network.width, input.size);
  return {std::move(input), std::move(network.model), unverified_notes(parsed.metadata, file)};
}

}  // namespace

bool is_onnx_file(const fs::path& file) {
  return file.extension() == ".onnx";
}

ModelInput read_model_input(const fs::path& checkpoint) {
  if (is_onnx_file(checkpoint))
    return read_model_input(onnx::read_file(checkpoint).metadata, checkpoint.string());
  try {
    return read_model_input(read_safetensors_header(checkpoint).metadata, checkpoint.string());
  } catch (const Error&) {
    // The cause may be damage, which only the whole file's checksum tells.
    read_safetensors(checkpoint);
    throw;
  }
}

std::vector<std::string> unverified_notes(const std::map<std::string, std::string>& metadata,
                                          const fs::path& file) {
  if (has_checksum(metadata)) return {};
  return {fmt::format("{} has no checksum: damage to it would not be noticed", file.string())};
}

Intensity chosen_intensity(const std::string& given, Intensity trained, const std::string& file,
                           std::vector<std::string>& notes) {
  if (given.empty()) return trained;
  const Intensity chosen = parse_intensity(given);
  if (chosen != trained)
    notes.push_back(
        fmt::format("--intensity {}; {} was trained with {}", given, file, name_of(trained)));
  return chosen;
}

TrainedModel load_trained(const fs::path& checkpoint, const std::string& task) {
  if (is_onnx_file(checkpoint)) {
    TrainedModel trained = load_onnx(checkpoint, onnx::read_file(checkpoint));
    THORAX_CHECK(trained.input.task == task, "[model] {}: holds a {}, not a {}",
                 checkpoint.string(), trained.input.task, task);
    return trained;
  }
  // The task first: that a file is for the other network is more helpful than what it lacks.
  const ModelInput claimed = read_model_input(checkpoint);
  THORAX_CHECK(claimed.task == task, "[model] {}: holds a {}, not a {}", checkpoint.string(),
               claimed.task, task);
  ModelFile file = read_model(checkpoint);
  return {read_model_input(file.metadata, checkpoint.string()), std::move(file.model),
          unverified_notes(file.metadata, checkpoint)};
}

void check_logits(const Tensor& logits, const char* module, const std::string& what) {
  THORAX_CHECK(all_finite(logits),
               "[{}] {}: the network's output is not finite (NaN or infinite): its weights do not "
               "suit this input, or overflow in this --precision",
               module, what);
}

void normalise(const std::vector<float>& pixels, float* out) {
  for (std::size_t i = 0; i < pixels.size(); ++i)
    out[i] = static_cast<float>((pixels[i] - kInputMean) / kInputDeviation);
}

}  // namespace thorax
