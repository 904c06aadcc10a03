// The devices ptx:0, ptx:1, ...: the simulated GPUs that execute the PTX which nvcc made of the
// kernels (engine/runtime/ptx/README.md) instead of their source.
//
// They are of the kind `sim`, which has one set of host code for both: its indices from kFirstPtx
// on are the cards of sim:0 ... again.
#pragma once

#include <string>

#include "engine/tensor/dtype.h"

namespace thorax {

constexpr int kFirstPtx = 3;
constexpr bool is_ptx(Device device) {
  return device.kind == DeviceKind::sim && device.index >= kFirstPtx;
}
constexpr Device ptx_device(int card) {
  return {DeviceKind::sim, kFirstPtx + card};
}
// As parse_device takes it: "ptx:0", else to_string's.
std::string device_text(Device device);

// Why there is no ptx:0; empty when there is one.
std::string why_no_ptx();
// For the backend: says why.
void note_no_ptx(std::string reason);

}  // namespace thorax
