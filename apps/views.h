// --tta: several views of an image whose results are averaged ("test-time augmentation").
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace thorax::app {

// --tta none|flip; see inference/mirror.h.
void add_tta_option(CLI::App& command, std::string& tta);

}  // namespace thorax::app
