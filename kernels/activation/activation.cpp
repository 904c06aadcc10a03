#include "kernels/activation/activation.h"

namespace thorax {

Registry<ActivationProvider>& activation_providers() {
  static Registry<ActivationProvider> registry("activation");
  return registry;
}

std::string ActivationProblem::to_string() const {
  return fmt::format("{} of {} {}", name_of(kind), shape, name_of(dtype));
}

}  // namespace thorax
