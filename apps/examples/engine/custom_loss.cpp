// A segmenter of digits with a loss of one's own, written as arithmetic: the Tversky loss, in which
// a missed pixel costs more than a wrong one, and half the cross entropy beside it.
#include <iostream>

#include "digits.h"

using namespace thorax;

Variable tversky_loss(const Variable& logits, const Tensor& mask) {
  const Variable p = sigmoid(logits), t(mask);
  const Variable both = sum(p * t), wrong = sum(p * (1.0 - t)), missed = sum((1.0 - p) * t);
  return 1.0 - (both + 1.0) / (both + 0.3 * wrong + 0.7 * missed + 1.0);
}

int main() {
  const Digits drawn = draw_digits(800, 0.5, 1), unseen = draw_digits(200, 0.5, 2);
  TensorLoader loader(TensorDataset({{"image", drawn.images}, {"mask", drawn.masks}}));
  Sequential net;
  net.add<Conv2d>(ConvSpec{.in = 1, .out = 8, .kernel = 5, .padding = 2}).add(relu);
  net.add<Conv2d>(ConvSpec{.in = 8, .out = 8, .kernel = 5, .padding = 2}).add(relu);
  net.add<Conv2d>(ConvSpec{.in = 8, .out = 1});
  AdamW optimizer(net.parameters(), {});
  for (int epoch = 0; epoch < 8; ++epoch) {
    for (const Batch& batch : loader.epoch(epoch)) {
      optimizer.zero_grad();
      const Variable logits = net(Variable(batch.tensors.at("image")));
      const Tensor& mask = batch.tensors.at("mask");
      backward(tversky_loss(logits, mask) + 0.5 * bce_with_logits(logits, mask));
      optimizer.step(5e-3);
    }
  }
  const NoGrad no_grad;
  const Variable loss = dice_loss(net(Variable(unseen.images)), unseen.masks);
  std::cout << "dice " << 1.0 - loss.value().item() << "\n";
}
