// Compares backward with central differences, in float64.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/autograd/variable.h"

namespace thorax {

struct GradcheckResult {
  bool ok = false;
  double worst = 0;     // largest |analytic - numeric| / (atol + rtol * |numeric|)
  std::string message;  // which input and element, both values
};

struct GradcheckOptions {
  double step = 1e-6;  // relative to max(1, |x|)
  double rtol = 1e-6;
  double atol = 1e-7;
};

// `function` maps leaves (float64, requiring gradients) to one output of any shape; a fixed random
// weighting makes it a scalar. Every element of every input is checked.
GradcheckResult gradcheck(const std::function<Variable(const std::vector<Variable>&)>& function,
                          const std::vector<Tensor>& inputs, GradcheckOptions options = {});

}  // namespace thorax
