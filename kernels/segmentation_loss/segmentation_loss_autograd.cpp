// The segmentation loss on the tape: saves logits, target and four sums a class.
#include "engine/runtime/profile.h"
#include "kernels/common/elements.h"
#include "kernels/segmentation_loss/segmentation_loss.h"

namespace thorax {
namespace {

void check_labels(const Tensor& target, const Shape& logits, std::int64_t classes) {
  THORAX_CHECK(target.rank() == 3 && target.size(0) == logits[0] && target.size(1) == logits[1] &&
                   target.size(2) == logits[2] && target.contiguous(),
               "[segmentation_loss] labels {} for logits {}: N x H x W are wanted", target.shape(),
               logits);
  THORAX_CHECK(target.dtype() == DType::i64, "[segmentation_loss] labels are {}, not i64",
               name_of(target.dtype()));
  if (target.device().kind != DeviceKind::cpu) return;
  for (std::int64_t i = 0; i < target.numel(); ++i) {
    const std::int64_t label = target.data<std::int64_t>()[i];
    THORAX_CHECK(label >= 0 && label < classes,
                 "[segmentation_loss] label {} of pixel {} is not in [0, {}) (logits {})", label, i,
                 classes, logits);
  }
}

void check_planes(const Tensor& target, const Tensor& x) {
  THORAX_CHECK(target.shape() == x.shape(), "[segmentation_loss] logits {} and target {} differ",
               x.shape(), target.shape());
  THORAX_CHECK(target.dtype() == x.dtype() || target.dtype() == DType::u8 ||
                   target.dtype() == loss_dtype(x.dtype()),
               "[segmentation_loss] target of type {}: {} or u8 is wanted", name_of(target.dtype()),
               name_of(x.dtype()));
}

}  // namespace

Variable segmentation_loss(const Variable& logits, const Tensor& target,
                           const SegmentationLossOptions& options) {
  THORAX_CHECK(logits.defined() && target.defined(), "[segmentation_loss] no {}",
               logits.defined() ? "target" : "logits");
  const Tensor& x = logits.value();
  THORAX_CHECK(x.rank() == 4 && x.numel() > 0,
               "[segmentation_loss] logits {}: N x H x W x C are wanted", x.shape());
  const std::int64_t classes = x.size(3);
  THORAX_CHECK(classes <= kMaxSegmentationClasses && (!options.softmax || classes >= 2),
               "[segmentation_loss] logits {}: {} channels; 1 to {}, with softmax 2 or more",
               x.shape(), classes, kMaxSegmentationClasses);
  THORAX_CHECK(options.epsilon > 0 && options.cross_entropy >= 0,
               "[segmentation_loss] epsilon {} is not positive, or the weight {} of the cross "
               "entropy is negative",
               options.epsilon, options.cross_entropy);
  options.softmax ? check_labels(target, x.shape(), classes) : check_planes(target, x);
  const SegmentationLossProblem problem{
      .pixels = x.numel() / classes, .classes = classes, .options = options, .dtype = x.dtype()};
  const ProfileScope scope("segmentation_loss", "forward", [&] { return problem.to_string(); });
  const DeviceKind device = x.device().kind;
  const Tensor sums = Tensor::empty({classes, 4}, DType::f64, x.device());
  const Tensor loss = Tensor::empty({1}, loss_dtype(x.dtype()), x.device());
  segmentation_loss_providers().select(problem, device).forward(problem, x, target, sums, loss);
  if (!needs_grad({logits})) return Variable(loss);
  return record("segmentation_loss", loss, {logits},
                [problem, device, x, target, sums](const Tensor& dy, const std::vector<bool>&) {
                  const Tensor dx = Tensor::empty(x.shape(), problem.dtype, dy.device());
                  segmentation_loss_providers()
                      .select(problem, device)
                      .backward(problem, dy, x, target, sums, dx);
                  return std::vector<Tensor>{dx};
                });
}

}  // namespace thorax
