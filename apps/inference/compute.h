// Where a network computes, and in which type.
#pragma once

#include <string>

#include "engine/tensor/dtype.h"

namespace thorax {

struct Compute {
  Device device;
  DType precision = DType::f32;  // of the activations
  bool graph = false;            // training steps are captured and replayed
};

// "float32", "float16" or "bfloat16". Throws Error "[precision] ..." for another name, and for 16
// bits on the CPU, whose kernels are float32.
DType parse_precision(const std::string& name, Device device);

}  // namespace thorax
