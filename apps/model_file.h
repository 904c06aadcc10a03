// What a checkpoint must say besides its weights so that it can be used alone: what the network
// expects to see.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/view.h"

namespace thorax::app {

struct ModelInput {
  std::string task;                  // "segmenter" or "classifier"
  int size = 0;                      // side of the square input
  View view = View::whole;           // what of a radiograph it is shown
  std::vector<std::string> classes;  // classifier: [negative, positive]
};

// Metadata entry "thorax.input".
std::map<std::string, std::string> input_metadata(const ModelInput& input);
// Throws Error naming the file when the entry is absent or broken.
ModelInput read_model_input(const std::filesystem::path& checkpoint);

// Pixels 0..1 -> network input: (x - 0.5) / 0.25, for every network of this program.
void normalise(const std::vector<float>& pixels, float* out);
inline constexpr double kInputMean = 0.5;
inline constexpr double kInputDeviation = 0.25;

}  // namespace thorax::app
