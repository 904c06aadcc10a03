#include "models/activations.h"

#include "models/model.h"

namespace thorax {
namespace {

thread_local ActivationScope* innermost = nullptr;

}  // namespace

ActivationScope::ActivationScope() : outer_(innermost) {
  innermost = this;
}
ActivationScope::ActivationScope(std::string layer, ActivationUse use)
    : layer_(std::move(layer)), use_(use), outer_(innermost) {
  innermost = this;
}
ActivationScope::~ActivationScope() {
  innermost = outer_;
}

const Variable& ActivationScope::activation() const {
  THORAX_CHECK(!offered_.empty(), "[activations] the network offers no layers");
  THORAX_CHECK(activation_.defined(), "[activations] the network has no layer '{}'; there are: {}",
               layer_, layer_list(offered_));
  return activation_;
}

Variable ActivationScope::offer(std::string_view name, const Variable& value) {
  for (const OfferedLayer& layer : offered_)
    THORAX_CHECK(layer.name != name,
                 "[activations] layer '{}' was offered before: a scope is for one forward pass, "
                 "and every layer needs its own name",
                 name);
  offered_.push_back({std::string(name), value.shape()});
  if (layer_.empty() || name != layer_) return value;
  if (use_ == ActivationUse::keep) {
    activation_ = value.detach();
    return value;
  }
  THORAX_CHECK(grad_enabled(),
               "[activations] layer '{}': its gradient is wanted, but gradients are off", name);
  activation_ = Variable(value.value(), /*requires_grad=*/true);
  return activation_;
}

Variable offer_activation(std::string_view name, const Variable& value) {
  return innermost ? innermost->offer(name, value) : value;
}

bool activations_wanted() {
  return innermost != nullptr;
}

std::vector<OfferedLayer> offered_layers(const Model& model, const Shape& input) {
  THORAX_CHECK(!model.training(),
               "[activations] the model is in training mode: listing its layers would change its "
               "running statistics");
  const NoGrad no_grad;
  const ActivationScope scope;
  model.forward(Variable(Tensor::zeros(input, DType::f32, model.device())));
  return scope.offered();
}

std::string last_spatial_layer(const std::vector<OfferedLayer>& layers) {
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer)
    if (layer->shape.rank() == 4 && layer->shape[1] * layer->shape[2] > 1) return layer->name;
  fail("[activations] the network offers no layer with rows and columns; there are: {}",
       layer_list(layers));
}

std::string layer_list(const std::vector<OfferedLayer>& layers) {
  std::string text;
  for (const OfferedLayer& layer : layers)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", layer.name, layer.shape);
  return text.empty() ? "none" : text;
}

}  // namespace thorax
