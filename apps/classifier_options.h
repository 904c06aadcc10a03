// --classifier, --temperature and --tta.
#pragma once

#include "apps/inference/ensemble.h"

namespace CLI {
class App;
}

namespace thorax::app {

// All of ClassifierOptions but the intensity.
void add_classifier_options(CLI::App& command, ClassifierOptions& options);

}  // namespace thorax::app
