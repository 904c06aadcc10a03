// Optimizer steps whose numbers lie on the device, against the same steps by the host's numbers.
#include "engine/optim/device_step.h"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/optim/optimizer.h"
#include "engine/runtime/graph.h"
#include "tests/support/check.h"
#include "tests/support/gpu.h"

using namespace thorax;

namespace {

const Device kGpu = test::gpu();

struct Net : Module {
  Net() {
    for (int i = 0; i < 5; ++i)
      all.push_back(add_parameter(
          fmt::format("p{}", i),
          test::normals(i == 3 ? Shape({7}) : Shape({40 + i, 33}), static_cast<std::uint64_t>(i))));
    to(kGpu);
  }
  void give_gradients(std::uint64_t step, bool bad = false) const {
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (i == 4 && step == 0) continue;  // one is unused at first: its steps count later
      const Tensor g = test::normals(all[i].shape(), 10 * step + i);
      if (bad && i == 2) g.data<float>()[5] = INFINITY;
      all[i].set_grad(g.to(kGpu));
    }
  }
  std::vector<Variable> all;
};

void compare(const nlohmann::json& config, double max_norm) {
  CAPTURE(config.dump());
  Net host, device;
  const auto a = make_optimizer(ConfigObject(config, "test"), host.parameters());
  const auto b = make_optimizer(ConfigObject(config, "test"), device.parameters());
  const Tensor report = Tensor::zeros({kStepReport}, DType::f64, kGpu);
  const Tensor skip = Tensor::zeros({1}, DType::i32, kGpu);
  for (std::uint64_t step = 0; step < 6; ++step) {
    const double lr = 0.1 / static_cast<double>(step + 1), scale = 0.7;
    const bool bad = step == 3;
    host.give_gradients(step, bad);
    device.give_gradients(step, bad);
    const SquareSum squares = grad_squares(a->parameters());
    const double norm = std::sqrt(squares.sum.item()) * scale;
    a->step(lr, scale * (std::isfinite(norm) ? clip_factor(norm, max_norm) : 1),
            squares.non_finite);
    if (bad) a->take_back_step();

    const Tensor values = b->next_values(lr, scale).to(kGpu);
    const Tensor loss = Tensor::full({1}, 0.25 + static_cast<double>(step), DType::f32, kGpu);
    finish_gradients(loss, grad_squares(b->parameters()), max_norm, values, report, skip);
    b->step_on_device(values, skip);
    const Tensor told = report.to(Device{});
    CHECK(told.data<double>()[0] == 0.25 + static_cast<double>(step));
    if (!bad) CHECK(told.data<double>()[1] == (max_norm > 0 ? norm : 0));
    CHECK(told.data<double>()[2] == (bad ? 1 : 0));
    CHECK(skip.item() == (bad ? 1 : 0));
    if (bad) b->take_back_step();
    for (const auto& [name, tensor] : a->state_dict())
      CHECK_MESSAGE(test::same_values(tensor, b->state_dict().at(name)), name);
    for (std::size_t i = 0; i < host.all.size(); ++i)
      CHECK(test::same_values(host.all[i].value(), device.all[i].value()));
  }
}

}  // namespace

TEST_CASE("steps with numbers on the device have the bits of ordinary steps") {
  for (const double max_norm : {0.0, 0.5, 1e6}) {
    compare({{"name", "sgd"}}, max_norm);
    compare({{"name", "sgd"}, {"momentum", 0.8}, {"weight_decay", 1e-3}}, max_norm);
    compare({{"name", "sgd"}, {"momentum", 0.8}, {"nesterov", true}}, max_norm);
    compare({{"name", "adamw"}, {"weight_decay", 1e-2}, {"decay_vectors", false}}, max_norm);
  }
}

TEST_CASE("a loss that is not finite leaves the step out, also where gradients are not looked at") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensor values = Tensor::full({3, 4}, 2, DType::f64, kGpu);
    const Tensor report = Tensor::zeros({kStepReport}, DType::f64, kGpu);
    const Tensor skip = Tensor::zeros({1}, DType::i32, kGpu);
    finish_gradients(Tensor::full({1}, NAN, dtype, kGpu), {}, 0, values, report, skip);
    CHECK(skip.item() == 1);
    CHECK(std::isnan(report.to(Device{}).data<double>()[0]));
    finish_gradients(Tensor::full({1}, 3, dtype, kGpu), {}, 0, values, report, skip);
    CHECK(skip.item() == 0);
    CHECK(values.to(Device{}).data<double>()[8] == 2);
  }
}

TEST_CASE("steps on the device: wrong tensors are named") {
  Net net;
  const auto optimizer =
      make_optimizer(ConfigObject(nlohmann::json{{"name", "sgd"}}, "test"), net.parameters());
  net.give_gradients(1);
  CHECK_THROWS_WITH_AS(optimizer->step_on_device(Tensor::zeros({4, 4}, DType::f64, kGpu), {}),
                       doctest::Contains("5 parameters want as many rows"), Error);
  CHECK_THROWS_WITH_AS(optimizer->step_on_device(optimizer->next_values(1), {}),
                       doctest::Contains("four f64 on its GPU"), Error);
  const Tensor cpu = Tensor::zeros({1, 4}, DType::f64);
  CHECK_THROWS_WITH_AS(finish_gradients(Tensor::zeros({1}), {}, 0, cpu, {}, {}),
                       doctest::Contains("is no GPU"), Error);
}
