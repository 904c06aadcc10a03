#include "kernels/softmax/softmax.h"

namespace thorax {

Registry<SoftmaxProvider>& softmax_providers() {
  static Registry<SoftmaxProvider> registry("softmax");
  return registry;
}

std::string SoftmaxProblem::to_string() const {
  return fmt::format("{}softmax of {} {}", log ? "log_" : "", shape, name_of(dtype));
}

}  // namespace thorax
