// --classifier, --temperature and --tta: options of every command with trained classifiers.
#include <CLI/CLI.hpp>

#include <charconv>

#include "apps/ensemble.h"
#include "apps/views.h"

namespace thorax::app {
namespace {

const CLI::Validator kTemperature(
    [](std::string& text) {
      if (text == "checkpoint" || text == "off") return std::string();
      double value = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      const bool good =
          error == std::errc() && end == text.data() + text.size() && value >= 1e-3 && value <= 1e3;
      return good ? std::string()
                  : "'" + text + "' is neither checkpoint nor off nor a number in 0.001..1000";
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
