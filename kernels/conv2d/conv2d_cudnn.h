// What cuDNN chose for a problem, for benchmark rows. Builds with THORAX_WITH_CUDNN only.
#pragma once

#include <string>

#include "kernels/conv2d/conv2d.h"

namespace thorax {

// "fwd algo 1 (workspace 0), dgrad algo 1 (...), wgrad algo 1 (...)"; each part once it ran.
std::string conv2d_cudnn_algorithms(const Conv2dProblem& problem);

}  // namespace thorax
