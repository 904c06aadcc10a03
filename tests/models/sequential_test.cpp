#include "models/sequential.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/optim/optimizer.h"
#include "kernels/activation/activation.h"
#include "kernels/permute/permute.h"
#include "models/layers.h"
#include "models/losses.h"
#include "tests/support/check.h"

using namespace thorax;

namespace {

struct Net : Module {
  Conv2d& conv = make<Conv2d>("conv", ConvSpec{.in = 1, .out = 4});
  ConvTranspose2d& up = make<ConvTranspose2d>("up", 4, 3, 2);
  Linear& fc = make<Linear>("fc", 8 * 8 * 3, 2);
  Variable operator()(const Variable& x) const { return fc(flatten(up(conv(x, true)))); }
};

double spread(const Tensor& t) {
  return std::sqrt(sum_of_squares(t) / static_cast<double>(t.numel()));
}

}  // namespace

TEST_CASE("layers draw their own starting values, by seed and name") {
  const Net net;
  const Tensor x = test::normals({2, 4, 4, 1}, 1);
  const Tensor y = net(Variable(x)).value();  // before anybody collects the parameters
  CHECK(all_finite(y));
  // Kaiming's deviations: sqrt(2 / fan_in), sqrt(1 / in) of the transposed one.
  CHECK(spread(net.conv.weight.value()) == doctest::Approx(std::sqrt(2.0 / 9)).epsilon(0.4));
  CHECK(spread(net.up.weight.value()) == doctest::Approx(0.5).epsilon(0.3));
  CHECK(spread(net.fc.weight.value()) == doctest::Approx(std::sqrt(2.0 / 192)).epsilon(0.2));
  // The same network has the same values, whether its parameters or its result come first.
  const Net again;
  CHECK(again.parameters().size() == 6);
  CHECK(test::same_values(again(Variable(x)).value(), y));
  const Net other;
  other.draw_parameters(1);
  CHECK(!test::same_values(other.conv.weight.value(), net.conv.weight.value()));
  other.draw_parameters(0);
  CHECK(test::same_values(other.conv.weight.value(), net.conv.weight.value()));
}

TEST_CASE("values that were written before the first use stay") {
  Linear layer(3, 2);
  layer.weight.value().fill(0);
  CHECK(layer.parameters().size() == 2);
  CHECK(spread(layer.weight.value()) == 0);
}

TEST_CASE("a layer that was never registered is an error when it is trained") {
  struct Forgetful : Module {
    Linear& known = make<Linear>("known", 3, 3);
    Linear forgotten{3, 2};
    Variable operator()(const Variable& x) const { return forgotten(known(x)); }
  };
  const Forgetful net;
  const Variable x(Tensor::zeros({1, 3}));
  const Sgd optimizer(net.parameters(), {});
  CHECK_THROWS_WITH_AS(net(x), doctest::Contains("[module] a layer (weight 2x3, bias 2)"), Error);
  const NoGrad no_grad;  // nobody misses the gradients
  CHECK(net(x).shape() == Shape{1, 2});
}

TEST_CASE("Sequential: names, functions, and that it learns") {
  Sequential net;
  net.add<Linear>(2, 16).add(relu).add<Linear>(16, 1);
  const auto parameters = net.parameters();
  REQUIRE(parameters.size() == 4);
  CHECK(parameters[0].name == "0.weight");
  CHECK(parameters[3].name == "2.bias");
  CHECK(net.size() == 3);
  // Whether two signs differ, which no single layer tells.
  const Tensor x = test::normals({64, 2}, 1), target = Tensor::empty({64, 1});
  for (int i = 0; i < 64; ++i)
    target.data<float>()[i] =
        x.data<float>()[2 * i] * x.data<float>()[2 * i + 1] > 0 ? 1.0f : -1.0f;
  AdamW optimizer(net.parameters(), {});
  double loss = 0;
  for (int step = 0; step < 300; ++step) {
    optimizer.zero_grad();
    const Variable value = mse_loss(net(Variable(x)), target);
    backward(value);
    optimizer.step(0.02);
    loss = value.value().item();
  }
  CHECK(loss < 0.2);  // 1 for a constant
}

TEST_CASE("mse_loss and l1_loss by hand") {
  const Variable x(Tensor::from(std::vector<float>{1, -2, 4, 0}, {2, 2}), true);
  const Tensor target = Tensor::from(std::vector<float>{0, 0, 2, 0}, {2, 2});
  CHECK(mse_loss(x, target).value().item() == 2.25);
  CHECK(l1_loss(x, target).value().item() == 1.25);
  backward(mse_loss(x, target));
  CHECK(test::same_values(x.grad(), Tensor::from(std::vector<float>{0.5f, -1, 1, 0}, {2, 2})));
}
