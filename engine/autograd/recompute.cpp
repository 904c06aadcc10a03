#include "engine/autograd/recompute.h"

namespace thorax {

Variable recompute(const std::function<Variable(const std::vector<Variable>&)>& block,
                   const std::vector<Variable>& inputs, bool parameters_need_grad) {
  if (!grad_enabled()) return block(inputs);
  Tensor value;
  {
    const NoGrad no_grad;
    value = block(inputs).value();
  }
  // A block whose only differentiable leaves are parameters still has to be walked; this leaf makes
  // `record` append a node even when no input requires a gradient. Its own gradient is zero.
  std::vector<Variable> recorded = inputs;
  if (parameters_need_grad) recorded.emplace_back(Tensor::zeros({1}), true);
  return record("recompute", std::move(value), recorded,
                [block, inputs](const Tensor& grad, const std::vector<bool>& needs) {
                  std::vector<Variable> again;
                  again.reserve(inputs.size());
                  for (std::size_t i = 0; i < inputs.size(); ++i)
                    again.emplace_back(inputs[i].value(), needs[i]);
                  const GradMode on(true);
                  Variable output;
                  {
                    const RecomputeScope scope;
                    output = block(again);
                  }
                  // Nothing in a block whose parameters are all frozen may want a gradient.
                  if (output.requires_grad()) backward(output, grad);
                  std::vector<Tensor> grads(needs.size());
                  for (std::size_t i = 0; i < inputs.size(); ++i) {
                    if (!needs[i]) continue;
                    grads[i] = again[i].grad().defined()
                                   ? again[i].grad()
                                   : Tensor::zeros(again[i].shape(), again[i].value().dtype(),
                                                   again[i].value().device());
                    again[i].zero_grad();
                  }
                  if (needs.size() > inputs.size()) grads.back() = Tensor::zeros({1});
                  return grads;
                });
}

}  // namespace thorax
