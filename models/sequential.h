// Layers and functions one after the other.
#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/nn/module.h"

namespace thorax {

// Parameters are named by the place in the chain, functions counted, as torch.nn.Sequential's:
// "0.weight".
//   Sequential net;
//   net.add<Conv2d>(ConvSpec{.in = 1, .out = 8}).add(relu).add(flatten).add<Linear>(6272, 10);
//   const Variable logits = net(x);
class Sequential : public Module {
 public:
  using Function = std::function<Variable(const Variable&)>;

  // A layer made of these arguments, which the chain owns.
  template <class Layer, class... Arguments>
  requires std::derived_from<Layer, Module> Sequential& add(Arguments&&... arguments) {
    const Layer& layer =
        make<Layer>(std::to_string(steps_.size()), std::forward<Arguments>(arguments)...);
    steps_.push_back([&layer](const Variable& x) { return layer(x); });
    return *this;
  }
  // A function of one variable: relu, flatten, a lambda.
  Sequential& add(Function function) {
    steps_.push_back(std::move(function));
    return *this;
  }

  Variable operator()(const Variable& x) const {
    Variable y = x;
    for (const Function& step : steps_) y = step(y);
    return y;
  }
  std::size_t size() const { return steps_.size(); }

 private:
  std::vector<Function> steps_;
};

}  // namespace thorax
