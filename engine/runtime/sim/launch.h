// launch() for the simulated device; included by launch.cuh only.
#pragma once

#include <tuple>

#include "engine/runtime/sim/block.h"
#include "engine/runtime/sim/language.h"

namespace thorax {

template <class... P, class... A>
void launch(NamedKernel<P...> kernel, Device device, const LaunchConfig& config, A&&... arguments) {
  const auto& [grid, block, shared] = config;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  // By value, as a GPU gets them.
  const std::tuple<std::decay_t<P>...> values(static_cast<P>(arguments)...);
  sim::run_grid(kernel.name, sim::architecture(device.index),
                {{grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared},
                [&] { std::apply(kernel.function, values); });
}

namespace sim_build {
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(sim::dynamic_shared_memory());
}
}  // namespace sim_build

}  // namespace thorax

// THORAX_SHARED(Type, name): one object of a trivial Type in the block's shared memory,
// uninitialised.
#define THORAX_SHARED(Type, name) \
  Type& name = *static_cast<Type*>(::thorax::sim::static_shared(sizeof(Type)))
