#include "kernels/dropout/dropout.h"

namespace thorax {

Registry<DropoutProvider>& dropout_providers() {
  static Registry<DropoutProvider> registry("dropout");
  return registry;
}

std::string DropoutProblem::to_string() const {
  return fmt::format("{} {} p {} seed {} stream {}", shape, name_of(dtype), p, seed, stream);
}

}  // namespace thorax
