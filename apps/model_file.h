// What a checkpoint must say besides its weights so that it can be used alone: what the network
// expects to see.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/decode.h"
#include "data/view.h"

namespace thorax::app {

// The probability from which an image counts as positive, as validation found it: Youden's point of
// the held-out images, which describes them better than it will new ones.
struct OperatingThreshold {
  double threshold = 0.5;
  double sensitivity = 0, specificity = 0;  // there
  std::int64_t images = 0;                  // held out
};

struct ModelInput {
  std::string task;                  // "segmenter" or "classifier"
  int size = 0;                      // side of the square input
  View view = View::whole;           // what of a radiograph it is shown
  std::vector<std::string> classes;  // classifier: [negative, positive]
  // Which stored value of an image it takes for white. Checkpoints without it are of versions that
  // knew the full range only.
  Intensity intensity = Intensity::full;
  // Whether the file says which class is positive; older ones do not, it is their last one.
  bool positive_stated = true;
  std::optional<OperatingThreshold> threshold;  // of files that end an epoch of a classifier
};

// Metadata entry "thorax.input".
std::map<std::string, std::string> input_metadata(const ModelInput& input);
// Metadata entry "thorax.threshold"; none when a class is absent among `labels`
// or no threshold does better than chance.
std::map<std::string, std::string> threshold_metadata(std::span<const int> labels,
                                                      std::span<const double> probabilities);
// Throws Error naming the file when the entry is absent or one of the two is broken.
ModelInput read_model_input(const std::filesystem::path& checkpoint);

// Pixels 0..1 -> network input: (x - 0.5) / 0.25, for every network of this program.
void normalise(const std::vector<float>& pixels, float* out);
inline constexpr double kInputMean = 0.5;
inline constexpr double kInputDeviation = 0.25;

}  // namespace thorax::app
