// The Dice loss on the tape: saves logits, target and three sums a group.
#include "engine/runtime/profile.h"
#include "kernels/common/elements.h"
#include "kernels/dice_loss/dice_loss.h"

namespace thorax {

Variable dice_loss(const Variable& logits, const Tensor& target, const DiceOptions& options) {
  THORAX_CHECK(logits.defined() && target.defined(), "[dice_loss] no {}",
               logits.defined() ? "target" : "logits");
  const Tensor& x = logits.value();
  THORAX_CHECK(x.shape() == target.shape(), "[dice_loss] logits {} and target {} differ", x.shape(),
               target.shape());
  THORAX_CHECK(x.rank() >= 1 && x.numel() > 0, "[dice_loss] logits {} hold no element", x.shape());
  THORAX_CHECK(target.dtype() == x.dtype() || target.dtype() == DType::u8 ||
                   target.dtype() == loss_dtype(x.dtype()),
               "[dice_loss] target of type {}: {} or u8 is wanted", name_of(target.dtype()),
               name_of(x.dtype()));
  THORAX_CHECK(options.epsilon > 0, "[dice_loss] epsilon {} is not positive", options.epsilon);
  const DiceProblem problem{.shape = x.shape(),
                            .squared = options.squared,
                            .per_image = options.per_image,
                            .epsilon = options.epsilon,
                            .dtype = x.dtype()};
  const ProfileScope scope("dice_loss", "forward", [&] { return problem.to_string(); });
  const DeviceKind device = x.device().kind;
  const Tensor sums = Tensor::empty({problem.groups(), 3}, DType::f64, x.device());
  const Tensor loss = Tensor::empty({1}, loss_dtype(x.dtype()), x.device());
  dice_loss_providers().select(problem, device).forward(problem, x, target, sums, loss);
  if (!needs_grad({logits})) return Variable(loss);
  return record(
      "dice_loss", loss, {logits},
      [problem, device, x, target, sums](const Tensor& dy, const std::vector<bool>&) {
        const Tensor dx = Tensor::empty(problem.shape, problem.dtype, dy.device());
        dice_loss_providers().select(problem, device).backward(problem, dy, x, target, sums, dx);
        return std::vector<Tensor>{dx};
      });
}

}  // namespace thorax
