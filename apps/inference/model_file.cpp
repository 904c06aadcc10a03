#include "apps/inference/model_file.h"

#include <fmt/format.h>

#include "engine/io/safetensors.h"
#include "models/factory.h"

namespace thorax {

namespace fs = std::filesystem;

ModelInput read_model_input(const fs::path& checkpoint) {
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
