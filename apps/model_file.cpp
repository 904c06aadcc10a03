#include "apps/model_file.h"

#include <fmt/format.h>

#include "engine/io/safetensors.h"
#include "models/factory.h"

namespace thorax::app {

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

void note_unverified(const std::map<std::string, std::string>& metadata, const fs::path& file) {
  if (has_checksum(metadata)) return;
  fmt::print(stderr, "note: {} has no checksum: damage to it would not be noticed\n",
             file.string());
}

TrainedModel load_trained(const fs::path& checkpoint, const std::string& task) {
  // The task first: that a file is for the other network is more helpful than what it lacks.
  const ModelInput claimed = read_model_input(checkpoint);
  THORAX_CHECK(claimed.task == task, "[model] {}: holds a {}, not a {}", checkpoint.string(),
               claimed.task, task);
  ModelFile file = read_model(checkpoint);
  note_unverified(file.metadata, checkpoint);
  return {read_model_input(file.metadata, checkpoint.string()), std::move(file.model)};
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

}  // namespace thorax::app
