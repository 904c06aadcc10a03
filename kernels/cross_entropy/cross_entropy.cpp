#include "kernels/cross_entropy/cross_entropy.h"

namespace thorax {

Registry<BceProvider>& bce_with_logits_providers() {
  static Registry<BceProvider> registry("bce_with_logits");
  return registry;
}

Registry<CrossEntropyProvider>& cross_entropy_providers() {
  static Registry<CrossEntropyProvider> registry("cross_entropy");
  return registry;
}

std::string BceProblem::to_string() const {
  return fmt::format("{} {} positive weight {}{}", shape, name_of(dtype), pos_weight,
                     weighted ? " weighted" : "");
}

std::string CrossEntropyProblem::to_string() const {
  return fmt::format("{}x{} {} label smoothing {}", rows, classes, name_of(dtype), label_smoothing);
}

}  // namespace thorax
