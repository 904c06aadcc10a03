// The outputs of a network's named layers, for whoever wants to look inside one: heatmaps, sizes.
//
// A network offers each layer as it computes it and goes on with what it gets back, one line each:
//
//   y = offer_activation("layer1", layer1_(y, forget));
//
// The name is the path of the layer's parameters ("stage4.2.branches.0"), the value what the next
// layer sees (after batch norm and ReLU). Without a scope on the calling thread that line does
// nothing. Offer N x H x W x C tensors; every name once in a forward pass.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/autograd/variable.h"

namespace thorax {

class Model;

struct OfferedLayer {
  std::string name;
  Shape shape;
};

// What a scope does with the layer that it names.
enum class ActivationUse {
  keep,  // keeps the value
  // Cuts the tape there: the rest of the network goes on from a new leaf that requires gradients,
  // so that a backward pass from the logits ends at it and leaves d(logits)/d(activation) in its
  // grad(). What was computed before the cut is not walked.
  differentiate,
};

// While one exists on this thread, networks note the layers that they offer. One forward pass per
// scope; an inner scope hides an outer one. Blocks are not recomputed meanwhile (layers.h,
// run_block), so that layers inside them may be offered, too.
class ActivationScope {
 public:
  // Notes names and shapes only.
  ActivationScope();
  explicit ActivationScope(std::string layer, ActivationUse use = ActivationUse::keep);
  ~ActivationScope();
  ActivationScope(const ActivationScope&) = delete;
  ActivationScope& operator=(const ActivationScope&) = delete;

  // In the order of computation.
  const std::vector<OfferedLayer>& offered() const { return offered_; }
  // The named layer's output. Throws Error "[activations] ..." listing the layers when the network
  // has not offered it.
  const Variable& activation() const;

 private:
  friend Variable offer_activation(std::string_view name, const Variable& value);
  Variable offer(std::string_view name, const Variable& value);

  std::string layer_;
  ActivationUse use_ = ActivationUse::keep;
  std::vector<OfferedLayer> offered_;
  Variable activation_;
  ActivationScope* outer_;
};

// What the network goes on with: `value`, or the leaf that a scope put in its place. Throws Error
// "[activations] ..." for a name that was offered before in this scope, and when gradients are
// wanted of a value computed with gradients off.
Variable offer_activation(std::string_view name, const Variable& value);

// Whether a scope exists on this thread.
bool activations_wanted();

// The layers of a model in eval mode, for inputs of this shape (N x H x W x C); runs it once, on
// its device. Throws Error "[activations] ..." in training mode, which would change the model.
std::vector<OfferedLayer> offered_layers(const Model& model, const Shape& input);
// The last of them with rows and columns: the usual place for a heatmap. Throws Error
// "[activations] ..." when there is none.
std::string last_spatial_layer(const std::vector<OfferedLayer>& layers);
// "stem 1x56x56x64, layer1 ...", for messages.
std::string layer_list(const std::vector<OfferedLayer>& layers);

}  // namespace thorax
