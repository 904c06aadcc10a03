// --classifier, --temperature and --tta: options of every command with trained classifiers.
#include <CLI/CLI.hpp>

#include "apps/classifier_options.h"
#include "apps/views.h"

namespace thorax::app {
namespace {

const CLI::Validator kTemperature(
    [](const std::string& text) {
      try {
        parse_temperature(text);
        return std::string();
      } catch (const Error& error) {
        return std::string(error.what());
      }
    },
    "checkpoint|off|NUMBER");

}  // namespace

void add_tta_option(CLI::App& command, std::string& tta) {
  command
      .add_option("--tta", tta,
                  "flip: the mean over each image and its mirror image, left and right swapped")
      ->capture_default_str()
      ->check(CLI::IsMember({"none", "flip"}));
}

void add_classifier_options(CLI::App& command, ClassifierOptions& options) {
  command
      .add_option("--classifier", options.files,
                  "Checkpoint of a classifier, or the folder of a kfold run (all its folds); given "
                  "several times: an ensemble, whose probabilities are averaged")
      ->required()
      ->allow_extra_args(false);
  command
      .add_option("--temperature", options.temperature,
                  "What logits are divided by before they become probabilities: the checkpoint's, "
                  "learnt on its validation images (1 when it has none), off, or a number")
      ->capture_default_str()
      ->check(kTemperature);
  add_tta_option(command, options.tta);
}

}  // namespace thorax::app
