#include "kernels/activation/activation.h"

namespace thorax {

Registry<ActivationProvider>& activation_providers() {
  static Registry<ActivationProvider> registry("activation");
  return registry;
}

std::string ActivationProblem::to_string() const {
  if (kind == ActivationKind::affine)
    return fmt::format("{} x + {} of {} {}", a, b, shape, name_of(dtype));
  if (kind == ActivationKind::power)
    return fmt::format("power {} of {} {}", a, shape, name_of(dtype));
  return fmt::format("{} of {} {}", name_of(kind), shape, name_of(dtype));
}

}  // namespace thorax
