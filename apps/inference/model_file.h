// What a checkpoint must say besides its weights so that it can be used alone: what the network
// expects to see.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/inference/organ_outputs.h"
#include "data/decode.h"
#include "data/view.h"
#include "engine/stats/temperature.h"
#include "models/model.h"

namespace thorax {

// The probability from which an image counts as positive, as validation found it: Youden's point of
// the held-out images, which describes them better than it will new ones.
struct OperatingThreshold {
  double threshold = 0.5;
  double sensitivity = 0, specificity = 0;  // there
  std::int64_t images = 0;                  // held out
};
// What the logits are divided by so that probabilities mean what they say, as validation found it
// (engine/stats/temperature.h).
struct LearntTemperature {
  double temperature = 1;
  std::int64_t images = 0;  // held out
};
// Sides of a network's square input, pixels.
inline constexpr std::int64_t kSmallestInput = 8, kLargestInput = 8192;
inline constexpr const char* kInputKey = "thorax.input";
inline constexpr const char* kThresholdsKey = "thorax.thresholds";  // of several findings

struct ModelInput {
  std::string task;         // "segmenter" or "classifier"
  int size = 0;             // side of the square input
  View view = View::whole;  // what of a radiograph it is shown
  // Classifier: [negative, positive], three and more, or findings.
  std::vector<std::string> classes;
  // Which stored value of an image it takes for white. Checkpoints without it are of versions that
  // knew the full range only.
  Intensity intensity = Intensity::full;
  // Whether the file says which class is positive; older ones do not, it is their last one.
  bool positive_stated = true;
  std::optional<OperatingThreshold> threshold;  // of files that end an epoch of a classifier
  bool multilabel = false;  // the classes are findings, of which an image may have several
  // Of each finding, where validation found one; empty in files that do not end an epoch.
  std::vector<std::optional<OperatingThreshold>> thresholds = {};
  OrganOutputs organs = {};  // segmenter of several organs, or by softmax
  std::optional<LearntTemperature> temperature = std::nullopt;  // the same
  // Classifier: the views by which it was judged, none or flip (views.h); its threshold is for
  // them.
  std::string tta = "none";
};

// Metadata entry "thorax.input".
std::map<std::string, std::string> input_metadata(const ModelInput& input);
// Metadata entry "thorax.threshold"; none when a class is absent among `labels`
// or no threshold does better than chance.
std::map<std::string, std::string> threshold_metadata(std::span<const int> labels,
                                                      std::span<const double> probabilities);
// Metadata entry "thorax.temperature"; none where the images determine no temperature.
std::map<std::string, std::string> temperature_metadata(const TemperatureFit& fit);
// Throws Error naming the file `name` when the entry is absent or one of the two is broken.
ModelInput read_model_input(const std::map<std::string, std::string>& metadata,
                            const std::string& name);
ModelInput read_model_input(const std::filesystem::path& checkpoint);  // its header's metadata

// Whether a file is read as ONNX (what `thorax export` wrote) and not as a checkpoint: by its
// ending.
bool is_onnx_file(const std::filesystem::path& file);

// A network with what it expects, from one reading of its checkpoint or ONNX file, in eval mode on
// the CPU. One from an ONNX file has no layers to look into.
// Throws Error naming the file when it is damaged (its checksum is compared), incomplete or for
// another task.
struct TrainedModel {
  ModelInput input;
  std::unique_ptr<Model> model;
  std::vector<std::string> notes = {};  // what whoever uses it should know, a line each
};
TrainedModel load_trained(const std::filesystem::path& checkpoint, const std::string& task);
// "FILE has no checksum ...", for a file whose metadata has none; else empty.
std::vector<std::string> unverified_notes(const std::map<std::string, std::string>& metadata,
                                          const std::filesystem::path& file);

// The intensity that was given (a name, data/decode.h), or without one that of training; where the
// two differ, `notes` gets a line that says so.
Intensity chosen_intensity(const std::string& given, Intensity trained, const std::string& file,
                           std::vector<std::string>& notes);

// Logits of which one is NaN or infinite would end as a verdict: a NaN is not >= any threshold.
// `module` and `what` begin the message: "[predict] IMAGE: ...".
void check_logits(const Tensor& logits, const char* module, const std::string& what);

// Pixels 0..1 -> network input: (x - 0.5) / 0.25, for every network of this program.
void normalise(const std::vector<float>& pixels, float* out);
inline constexpr double kInputMean = 0.5;
inline constexpr double kInputDeviation = 0.25;

}  // namespace thorax
