// A convolutional network learns to read digits that the program draws.
#include <iostream>

#include "digits.h"

using namespace thorax;

struct Net : Module {
  Conv2d& conv1 = make<Conv2d>("conv1", ConvSpec{.in = 1, .out = 8});
  Conv2d& conv2 = make<Conv2d>("conv2", ConvSpec{.in = 8, .out = 16});
  Conv2d& conv3 = make<Conv2d>("conv3", ConvSpec{.in = 16, .out = 32});
  Linear& fc = make<Linear>("fc", 2 * 2 * 32, 10);

  Variable operator()(const Variable& x) const {
    Variable y = max_pool2d(conv1(x, /*relu=*/true), {.kernel = 2});
    y = max_pool2d(conv2(y, /*relu=*/true), {.kernel = 2});
    y = max_pool2d(conv3(y, /*relu=*/true), {.kernel = 2});
    return fc(flatten(y));
  }
};

int main() {
  const Digits drawn = draw_digits(2000, 0.2, 1), unseen = draw_digits(500, 0.2, 2);
  TensorLoader loader(TensorDataset({{"image", drawn.images}, {"label", drawn.labels}}));
  Net net;
  AdamW optimizer(net.parameters(), {});
  for (int epoch = 0; epoch < 8; ++epoch) {
    Variable loss;
    for (const Batch& batch : loader.epoch(epoch)) {
      optimizer.zero_grad();
      loss = cross_entropy(net(Variable(batch.tensors.at("image"))), batch.tensors.at("label"));
      backward(loss);
      optimizer.step(5e-3);
    }
    std::cout << "epoch " << epoch << ": loss " << loss.value().item() << "\n";
  }
  const NoGrad no_grad;
  const Tensor logits = net(Variable(unseen.images)).value();
  int right = 0;
  for (std::int64_t n = 0; n < 500; ++n) {
    const float* row = logits.data<float>() + n * 10;
    right += std::max_element(row, row + 10) - row == unseen.labels.data<std::int64_t>()[n];
  }
  std::cout << "accuracy " << right / 500.0 << "\n";
}
