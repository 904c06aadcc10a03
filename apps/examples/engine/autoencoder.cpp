// An autoencoder squeezes images of 256 pixels through 24 numbers, and so takes the noise away.
#include <iostream>

#include "digits.h"

using namespace thorax;

int main() {
  const Digits drawn = draw_digits(3000, 0.2, 1), unseen = draw_digits(200, 0.2, 2);
  TensorLoader loader(TensorDataset({{"image", drawn.images}, {"clean", drawn.masks}}));
  Sequential net;
  net.add(flatten).add<Linear>(256, 128).add(relu).add<Linear>(128, 24);  // the encoder
  net.add<Linear>(24, 128).add(relu).add<Linear>(128, 256).add(sigmoid);  // the decoder
  AdamW optimizer(net.parameters(), {.weight_decay = 0});
  for (int epoch = 0; epoch < 10; ++epoch) {
    for (const Batch& batch : loader.epoch(epoch)) {
      optimizer.zero_grad();
      const Tensor& clean = batch.tensors.at("clean");
      backward(mse_loss(reshape(net(Variable(batch.tensors.at("image"))), clean.shape()), clean));
      optimizer.step(2e-3);
    }
  }
  const NoGrad no_grad;
  const Variable y = reshape(net(Variable(unseen.images)), unseen.images.shape());
  std::cout << "error of the noisy image "
            << mse_loss(Variable(unseen.images), unseen.masks).value().item()
            << "\nerror of the reconstruction " << mse_loss(y, unseen.masks).value().item() << "\n";
}
