// Capture of launches on a simulated device, for graphs (engine/runtime/graph.h).
#pragma once

#include <cstddef>
#include <functional>
#include <span>

namespace thorax::sim {

// Whether a graph is being captured on simulated device `index`.
bool capturing(int index);
// Adds a launch to it instead of running it. `arguments`: the kernel's, as bytes; addresses of
// device memory among them are what the graph is held to at replay.
void capture(int index, const char* name, std::span<const std::byte> arguments,
             std::function<void()> run);

}  // namespace thorax::sim
