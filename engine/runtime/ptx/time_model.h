// How long a launch takes on a card, predicted from its counters: TIME_MODEL.md. Not better than a
// factor of 1.5 until it has been held against a card; never shown as measured.
#pragma once

#include <string_view>
#include <vector>

#include "engine/runtime/ptx/measure.h"

namespace thorax::ptx {

struct Prediction {
  double seconds = 0;
  std::string_view bound;  // what it waits for: "issue", "DRAM", "latency", "launch" ...
  double waves = 0;        // blocks over those that the card holds at once
  struct Part {
    std::string_view name;
    double seconds;
  };
  std::vector<Part> parts;  // what each limit alone would take, without the launch
};

// registers: of a thread, 0 when they are not known. Throws Error "[ptx] ..." for a block that the
// card cannot hold.
Prediction predict(const LaunchCounts& launch, const Card& card, int registers = 0);
// One after the other; the bound is that of most of the time.
Prediction predict(const std::vector<Prediction>& launches);

}  // namespace thorax::ptx
