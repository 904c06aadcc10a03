#include "apps/bench/network_step.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/io/config.h"
#include "kernels/common/trial.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dice_loss/dice_loss.h"

namespace thorax::app {

bool gives_masks(const std::string& model) {
  const std::vector<std::string> names = segmenter_names();
  return std::find(names.begin(), names.end(), model) != names.end();
}

NetworkStep::NetworkStep(const NetworkWork& work) : work_(work) {
  const bool masks = gives_masks(work.model);
  nlohmann::json config = {
      {"model", work.model}, {"in_channels", 1}, {"recompute", work.recompute}};
  if (!masks) {
    config["head"] = "study";
    config["outputs"] = 1;
  }
  model_ = create_model(config);
  model_->train(work.train);
  model_->to(work.device);
  input_ = Variable(Tensor::empty({work.batch, work.size, work.size, 1}, DType::f32, work.device));
  target_ = Tensor::empty(masks ? input_.shape() : Shape{work.batch, 1}, DType::f32, work.device);
}

void NetworkStep::fill() {
  input_.value().copy_from(trial_values(input_.shape(), DType::f32, work_.device, 1));
  const Tensor target = trial_values(target_.shape(), DType::f32, Device{}, 2);
  for (std::int64_t i = 0; i < target.numel(); ++i)
    target.data<float>()[i] = target.data<float>()[i] < 0 ? 0.0f : 1.0f;
  target_.copy_from(target);
}

void NetworkStep::run() {
  if (!work_.train) {
    const NoGrad no_grad;
    model_->logits(input_, work_.precision);
    return;
  }
  if (optimizer_ == nullptr)
    optimizer_ = make_optimizer(ConfigObject({{"name", "adamw"}, {"weight_decay", 1e-4}}, "bench"),
                                model_->parameters());
  const Variable logits = model_->logits(input_, work_.precision);
  const Variable loss =
      gives_masks(work_.model) ? dice_loss(logits, target_) : bce_with_logits(logits, target_);
  backward(loss, Tensor::full(loss.shape(), 1, loss.value().dtype(), work_.device));
  if (work_.precision == DType::f16) {
    optimizer_->step(1e-3, 1, grad_squares(optimizer_->parameters()).non_finite);
  } else {
    optimizer_->step(1e-3, 1);
  }
  optimizer_->zero_grad();
}

}  // namespace thorax::app
