// launch() for the simulated device; included by launch.cuh only.
#pragma once

#include <array>
#include <span>
#include <tuple>
#include <typeinfo>

#include "engine/runtime/ptx/machine.h"
#include "engine/runtime/ptx_devices.h"
#include "engine/runtime/sim/block.h"
#include "engine/runtime/sim/capture.h"
#include "engine/runtime/sim/language.h"

namespace thorax {

namespace sim {
// A type whose name has the kernel's in it, template arguments and all.
template <auto kKernel>
struct KernelTag {};
}  // namespace sim

template <class... P, class... A>
void launch(NamedKernel<P...> kernel, Device device, const LaunchConfig& config, A&&... arguments) {
  const auto& [grid, block, shared] = config;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  // By value, as a GPU gets them.
  const std::tuple<std::decay_t<P>...> values(static_cast<P>(arguments)...);
  const auto run = [kernel, index = device.index,
                    shape = sim::BlockShape{{grid.x, grid.y, grid.z},
                                            {block.x, block.y, block.z},
                                            shared}](const auto& given) {
    if (!is_ptx({DeviceKind::sim, index})) {
      sim::run_grid(kernel.name, sim::architecture(index), shape,
                    [&] { std::apply(kernel.function, given); });
      return;
    }
    const auto list = std::apply(
        [](const auto&... each) {
          return std::array<ptx::Argument, sizeof...(each)>{ptx::Argument{&each, sizeof(each)}...};
        },
        given);
    ptx::launch({kernel.symbol, kernel.file, kernel.name}, sim::architecture(index), shape, list);
  };
  if (sim::capturing(device.index)) {
    sim::capture(device.index, kernel.name, std::as_bytes(std::span(&values, 1)),
                 [run, values] { run(values); });
  } else {
    run(values);
  }
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
