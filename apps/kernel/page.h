// The page of `thorax kernel`: one block of a launch, in one self-contained HTML file.
#pragma once

#include <string>

#include "engine/runtime/ptx/recording.h"

namespace thorax::app {

// What the page says of the run beside the recording.
struct KernelRunText {
  std::string command;   // that makes the page again
  std::string problem;   // "conv2d forward 1x14x14x32 ..."
  std::string provider;  // "cuda/tiled"
  std::string device;    // "ptx:0, RTX 2070 Super"
  int capability = 0;    // of the card: 75
  std::string source;    // folder of the sources, where they are not where the PTX says
};

// Sources are read from the files that the PTX names, or below KernelRunText::source; they must be
// those it was compiled from. Where one is not found the page says so and has line numbers only.
std::string kernel_page(const ptx::Recording& recording, const KernelRunText& text);

}  // namespace thorax::app
