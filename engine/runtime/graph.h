// Graphs: work of a device's compute stream that is recorded once and replayed as one launch.
//
// A training step of a network with hundreds of small kernels costs more time to launch than to
// compute. Captured, it is one launch: the same kernels with the same arguments on the same memory.
// What differs from step to step must therefore lie in device memory that the step reads, and whose
// address stays (engine/train/README.md says how the trainer does it).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/tensor/dtype.h"

namespace thorax {

class Graph {
 public:
  Graph() = default;
  // Calls `body`, whose launches, copies and fills are recorded and not run. Memory that it
  // allocates comes from blocks that were freed before (run the body once beforehand) and stays the
  // graph's own while the graph lives, also what `body` frees. Throws Error
  //   "[graph] ... cannot be captured ..." when body waits for the device, copies to the host or
  //   from pageable memory, uploads, or needs memory from the system; body's own errors otherwise.
  // Nothing is recorded then, and the device is as usable as before.
  static Graph capture(Device device, const std::function<void()>& body);
  ~Graph();
  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;

  // Runs what was recorded, in order with everything else on the compute stream; does not wait.
  // Memory that the graph uses and does not own must still be there: the simulated device checks
  // it, a GPU cannot.
  void replay() const;
  bool defined() const { return device_.kind != DeviceKind::cpu; }
  std::size_t size() const;  // launches, copies and fills

 private:
  void drop() noexcept;

  Device device_;
  std::uint64_t graph_ = 0, memory_ = 0;
  std::vector<std::function<void()>> effects_;
};

// Runs `effect` now; while this thread captures a graph, at every replay of that graph instead: for
// what the host counts along with the work of the device.
void at_replay(std::function<void()> effect);

// Whether a graph is being captured on a device.
bool capturing(Device device);

// For the backends: what both kinds of GPU refuse, and know, in the same way.
namespace capture_detail {
// Throws Error "[graph] <what> cannot be captured ..." while a graph is captured on the device.
void refuse(Device device, const char* what);
// The same for host memory, which belongs to no device.
void refuse(DeviceKind kind, const char* what);
// Pinned host memory, which a graph may copy from.
void note_pinned(void* block, std::size_t bytes);
void forget_pinned(void* block) noexcept;
bool is_pinned(const void* from, std::size_t bytes);
// refuse() unless [from, from + bytes) is pinned.
void refuse_pageable(Device device, const void* from, std::size_t bytes);
}  // namespace capture_detail

}  // namespace thorax
