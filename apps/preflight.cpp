#include "apps/preflight.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "apps/inference/model_file.h"
#include "data/classes.h"
#include "engine/train/run_folder.h"
#include "models/factory.h"
#include "models/freeze.h"
#include "models/weights.h"

namespace thorax::app {

namespace fs = std::filesystem;

void check_learnable(Task task, const Dataset& dataset) {
  if (task == Task::classifier) {
    const std::string problem = classifier_problem(dataset);
    THORAX_CHECK(problem.empty(), "[run] {}", problem);
    return;
  }
  const auto missing = [](const Sample& s) { return s.masks.empty(); };
  const auto first = std::find_if(dataset.samples.begin(), dataset.samples.end(), missing);
  THORAX_CHECK(
      first == dataset.samples.end(),
      "[run] a segmenter learns from lung masks; {} of {} images have none, the first is {} "
      "(--data KIND:PATH,masks=FOLDER says where they are, mask=required leaves such images out)",
      std::count_if(dataset.samples.begin(), dataset.samples.end(), missing),
      dataset.samples.size(), first->image.string());
}

void check_lungs(const TrainSettings& s, const Dataset& dataset) {
  if (s.task != Task::classifier || !s.segmenter.empty() || !needs_mask(s.seen())) return;
  const auto missing = [](const Sample& sample) { return sample.masks.empty(); };
  const auto first = std::find_if(dataset.samples.begin(), dataset.samples.end(), missing);
  THORAX_CHECK(
      first == dataset.samples.end(),
      "[run] the view '{}' needs to know the lungs; {} of {} images have no lung mask, the first "
      "is "
      "{}; give --segmenter, or masks (--data KIND:PATH,masks=FOLDER), or the view whole alone",
      name_of(s.seen()), std::count_if(dataset.samples.begin(), dataset.samples.end(), missing),
      dataset.samples.size(), first->image.string());
}

void check_network(const TrainSettings& s, std::size_t outputs) {
  const std::unique_ptr<Model> model = create_model(s.model, static_cast<std::uint64_t>(s.seed));
  if (!s.weights.empty()) {
    WeightFile file = read_weight_file(s.weights);
    if (file.metadata.contains(kInputKey)) {
      const std::string task = read_model_input(file.metadata, s.weights).task;
      THORAX_CHECK(task == name_of(s.task),
                   "[weights] {}: holds a {}, not a {}, and their networks have no layers in "
                   "common; give --weights of a {}",
                   s.weights, task, name_of(s.task), name_of(s.task));
    }
    load_model_weights(*model, std::move(file), s.weights, WeightUse::pretrain);
  }
  freeze(*model, s.freeze);
  THORAX_CHECK(s.ema == 0 || s.norm_batches > 0 || model->buffers().empty(),
               "[run] --ema with --norm-batches 0: batch norm's moving averages are those of the "
               "last weights, not of the averaged network; give --norm-batches 1 or more");
  model->eval();
  const NoGrad no_grad;
  const std::int64_t channels = s.model.value("in_channels", 1);
  THORAX_CHECK(channels == 1 || channels == 3,
               "[run] model.in_channels {}: radiographs are given to a network as 1 channel, or 3 "
               "equal ones",
               channels);
  const Shape input{1, s.size, s.size, channels};
  const Variable image(Tensor::zeros(input));
  const Shape found = model->forward(image).shape();
  const Shape wanted = s.task == Task::segmenter
                           ? Shape{1, s.size, s.size, static_cast<std::int64_t>(outputs)}
                           : Shape{1, static_cast<std::int64_t>(outputs)};
  THORAX_CHECK(found == wanted,
               "[run] the network makes {} of an input {}; a {} is to give {}, one logit for {} "
               "(model.{} = {})",
               found, input, name_of(s.task), wanted,
               s.task == Task::segmenter
                   ? (outputs == 1 ? "every pixel"
                                   : "every pixel and organ, with softmax the background too")
               : outputs == 1 ? "the image"
                              : "each class or finding",
               s.task == Task::segmenter ? "out_channels" : "outputs", outputs);
  if (s.batch > 1) return;
  // Where a layer's maps are 1 x 1, one image leaves batch norm a single value to measure.
  model->train();
  try {
    model->forward(image);
  } catch (const Error& error) {
    fail("[run] --batch 1 with --size {}: {}; give --batch 2 or more, or a larger --size", s.size,
         error.what());
  }
}

void check_inputs_outside(const TrainSettings& settings, const Dataset& dataset,
                          const fs::path& folder) {
  const auto check = [&](const fs::path& file) {
    std::error_code error;
    const fs::path place = fs::weakly_canonical(file, error);
    THORAX_CHECK(error || !is_inside(place, folder),
                 "[run] {}: is read by this run and lies in {}, which --overwrite would replace; "
                 "give another --out, or move it",
                 file.string(), folder.string());
  };
  for (const std::string& file : {settings.segmenter, settings.weights})
    if (!file.empty()) check(file);
  for (const Sample& sample : dataset.samples) {
    check(sample.image);
    for (const fs::path& mask : sample.masks) check(mask);
  }
}

}  // namespace thorax::app
