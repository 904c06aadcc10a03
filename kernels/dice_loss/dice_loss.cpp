#include "kernels/dice_loss/dice_loss.h"

namespace thorax {

Registry<DiceProvider>& dice_loss_providers() {
  static Registry<DiceProvider> registry("dice_loss");
  return registry;
}

std::string DiceProblem::to_string() const {
  return fmt::format("{} {}{}{} epsilon {}", shape, name_of(dtype), squared ? " squared" : " plain",
                     per_image ? " per image" : "", epsilon);
}

}  // namespace thorax
