// Classification losses on the tape: save logits and targets, which exist anyway.
#include <cmath>

#include "engine/runtime/profile.h"
#include "kernels/common/elements.h"
#include "kernels/cross_entropy/cross_entropy.h"

namespace thorax {
namespace {

void check_class_weights(const Tensor& weights, const Tensor& x) {
  THORAX_CHECK(weights.shape() == (Shape{x.size(1)}) && weights.dtype() == DType::f32,
               "[cross_entropy] class weights {} ({}) for logits {}: one f32 per class is wanted",
               weights.shape(), name_of(weights.dtype()), x.shape());
  THORAX_CHECK(weights.device() == x.device(), "[cross_entropy] class weights on {}, logits on {}",
               to_string(weights.device()), to_string(x.device()));
  if (weights.device().kind != DeviceKind::cpu) return;
  for (std::int64_t k = 0; k < weights.numel(); ++k)
    THORAX_CHECK(std::isfinite(weights.data<float>()[k]) && weights.data<float>()[k] >= 0,
                 "[cross_entropy] weight {} of class {} is not a number from 0 on",
                 weights.data<float>()[k], k);
}

}  // namespace

Variable bce_with_logits(const Variable& logits, const Tensor& target, double pos_weight,
                         const Tensor& weight) {
  THORAX_CHECK(logits.defined() && target.defined(), "[bce_with_logits] no {}",
               logits.defined() ? "target" : "logits");
  const Tensor& x = logits.value();
  THORAX_CHECK(x.shape() == target.shape(), "[bce_with_logits] logits {} and target {} differ",
               x.shape(), target.shape());
  THORAX_CHECK(x.numel() > 0, "[bce_with_logits] logits {} hold no element", x.shape());
  THORAX_CHECK(target.dtype() == x.dtype() || target.dtype() == DType::u8 ||
                   target.dtype() == loss_dtype(x.dtype()),
               "[bce_with_logits] target of type {}: {} or u8 is wanted", name_of(target.dtype()),
               name_of(x.dtype()));
  THORAX_CHECK(pos_weight > 0, "[bce_with_logits] positive weight {} is not positive", pos_weight);
  if (weight.defined()) {
    THORAX_CHECK(weight.shape() == x.shape(), "[bce_with_logits] logits {} and weight {} differ",
                 x.shape(), weight.shape());
    THORAX_CHECK(weight.dtype() == loss_dtype(x.dtype()),
                 "[bce_with_logits] weight of type {}: {} is wanted", name_of(weight.dtype()),
                 name_of(loss_dtype(x.dtype())));
  }
  const BceProblem problem{.shape = x.shape(),
                           .pos_weight = pos_weight,
                           .dtype = x.dtype(),
                           .weighted = weight.defined()};
  const ProfileScope scope("bce_with_logits", "forward", [&] { return problem.to_string(); });
  const DeviceKind device = x.device().kind;
  const Tensor loss = Tensor::empty({1}, loss_dtype(x.dtype()), x.device());
  bce_with_logits_providers().select(problem, device).forward(problem, x, target, weight, loss);
  if (!needs_grad({logits})) return Variable(loss);
  return record("bce_with_logits", loss, {logits},
                [problem, device, x, target, weight](const Tensor& dy, const std::vector<bool>&) {
                  const Tensor dx = Tensor::empty(problem.shape, problem.dtype, dy.device());
                  bce_with_logits_providers()
                      .select(problem, device)
                      .backward(problem, dy, x, target, weight, dx);
                  return std::vector<Tensor>{dx};
                });
}

Variable cross_entropy(const Variable& logits, const Tensor& labels, double label_smoothing,
                       const Tensor& class_weights) {
  THORAX_CHECK(logits.defined() && labels.defined(), "[cross_entropy] no {}",
               logits.defined() ? "labels" : "logits");
  const Tensor& x = logits.value();
  THORAX_CHECK(x.rank() == 2 && x.size(0) > 0 && x.size(1) > 0,
               "[cross_entropy] logits must be N x classes with N >= 1, got {}", x.shape());
  THORAX_CHECK(labels.rank() == 1 && labels.size(0) == x.size(0),
               "[cross_entropy] labels {} for logits {}", labels.shape(), x.shape());
  THORAX_CHECK(labels.dtype() == DType::i64, "[cross_entropy] labels are {}, not i64",
               name_of(labels.dtype()));
  THORAX_CHECK(label_smoothing >= 0 && label_smoothing <= 1,
               "[cross_entropy] label smoothing {} is not in [0, 1]", label_smoothing);
  if (class_weights.defined()) check_class_weights(class_weights, x);
  if (labels.device().kind == DeviceKind::cpu) {
    for (std::int64_t n = 0; n < labels.numel(); ++n) {
      const std::int64_t label = labels.data<std::int64_t>()[n];
      THORAX_CHECK(label >= 0 && label < x.size(1),
                   "[cross_entropy] label {} of row {} is not in [0, {}) (logits {})", label, n,
                   x.size(1), x.shape());
    }
  }
  const CrossEntropyProblem problem{.rows = x.size(0),
                                    .classes = x.size(1),
                                    .label_smoothing = label_smoothing,
                                    .dtype = x.dtype()};
  const ProfileScope scope("cross_entropy", "forward", [&] { return problem.to_string(); });
  const DeviceKind device = x.device().kind;
  const Tensor loss = Tensor::empty({1}, loss_dtype(x.dtype()), x.device());
  cross_entropy_providers()
      .select(problem, device)
      .forward(problem, x, labels, class_weights, loss);
  if (!needs_grad({logits})) return Variable(loss);
  return record(
      "cross_entropy", loss, {logits},
      [problem, device, x, labels, class_weights](const Tensor& dy, const std::vector<bool>&) {
        const Tensor dx =
            Tensor::empty({problem.rows, problem.classes}, problem.dtype, dy.device());
        cross_entropy_providers()
            .select(problem, device)
            .backward(problem, dy, x, labels, class_weights, dx);
        return std::vector<Tensor>{dx};
      });
}

}  // namespace thorax
