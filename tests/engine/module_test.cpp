#include "engine/nn/module.h"

#include <doctest/doctest.h>

#include "engine/nn/init.h"
#include "engine/optim/optimizer.h"
#include "engine/runtime/philox.h"
#include "tests/support/check.h"

using namespace thorax;

namespace {
struct Leaf : Module {
  Variable weight = add_parameter("weight", Tensor::zeros({2, 1, 1, 3}));
  Tensor mean = add_buffer("running_mean", Tensor::zeros({2}));
};
struct Root : Module {
  Leaf a, b;
  Variable scale = add_parameter("scale", Tensor::zeros({1}));
  Root() {
    add_module("a", a);
    add_module("layers.0", b);
  }
};
}  // namespace

TEST_CASE("names are dotted paths and counts add up") {
  Root root;
  const auto parameters = root.parameters();
  REQUIRE(parameters.size() == 3);
  CHECK(parameters[0].name == "scale");
  CHECK(parameters[1].name == "a.weight");
  CHECK(parameters[2].name == "layers.0.weight");
  CHECK(root.parameter_count() == 13);
  root.eval();
  CHECK(!root.b.training());
}

TEST_CASE("loading is strict, checks everything before it copies, and names what is wrong") {
  Root root;
  StateDict dict;
  for (const auto& [name, tensor] : root.state_dict()) dict[name] = Tensor::full(tensor.shape(), 5);
  StateDict short_dict = dict;
  short_dict.erase("a.weight");
  CHECK_THROWS_WITH_AS(root.load_state_dict(short_dict),
                       doctest::Contains("missing from the file: a.weight"), Error);
  CHECK(root.scale.value().item() == 0);
  CHECK(root.load_state_dict(short_dict, {"a.*"}).missing == std::vector<std::string>{"a.weight"});
  CHECK(root.scale.value().item() == 5);
  StateDict long_dict = dict;
  long_dict["classifier.weight"] = Tensor::zeros({1});
  CHECK_THROWS_WITH_AS(root.load_state_dict(long_dict),
                       doctest::Contains("unknown to the model: classifier.weight"), Error);
  CHECK(root.load_state_dict(long_dict, {}, {"classifier.*"}).unexpected.size() == 1);
  StateDict wrong = dict;
  wrong["scale"] = Tensor::zeros({2});
  CHECK_THROWS_WITH_AS(root.load_state_dict(wrong),
                       doctest::Contains("scale: 2 in the file, 1 in the model"), Error);
}

TEST_CASE("initialisers have the right spread and depend on seed and name only") {
  const Tensor w = Tensor::empty({64, 3, 3, 32});
  init_kaiming_normal(w, 1, "conv.weight");
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < w.numel(); ++i) {
    sum += w.data<float>()[i];
    squares += static_cast<double>(w.data<float>()[i]) * w.data<float>()[i];
  }
  const double n = static_cast<double>(w.numel()), variance = 2.0 / 288;
  CHECK(std::abs(sum / n) < 5 * std::sqrt(variance / n));
  CHECK(std::abs(squares / n / variance - 1) < 5 * std::sqrt(2 / n));
  const Tensor again = Tensor::empty({64, 3, 3, 32}), other = Tensor::empty({64, 3, 3, 32});
  init_kaiming_normal(again, 1, "conv.weight");
  init_kaiming_normal(other, 1, "conv2.weight");
  CHECK(test::same_values(w, again));
  CHECK(!test::same_values(w, other));
}

TEST_CASE("an initialiser's values are the generator's sequence, however it is cut into chunks") {
  const Tensor normal = Tensor::empty({5, 100, 100}), uniform = Tensor::empty({40000});
  init_normal(normal, 2.0, 3, "a");
  init_uniform(uniform, 0.5, 3, "a");
  Philox first(3, 0xaf63dc4c8601ec8cull), second(3, 0xaf63dc4c8601ec8cull);  // FNV-1a of "a"
  bool same = true;
  for (std::int64_t i = 0; i < normal.numel(); ++i)
    same = same && normal.data<float>()[i] == static_cast<float>(2.0 * first.normal());
  for (std::int64_t i = 0; i < uniform.numel(); ++i)
    same = same && uniform.data<float>()[i] == static_cast<float>(second.uniform(-0.5, 0.5));
  CHECK(same);
}

TEST_CASE("a module moves to a device with its gradients; dicts are loaded across devices") {
  struct Counting : Root {
    Tensor count = add_host_buffer("count", Tensor::zeros(Shape{}, DType::i64));
  };
  const Device sim{DeviceKind::sim, 0};
  Counting moved;
  Root other;
  init_normal(moved.a.weight.value(), 1, 1, "a");
  const Tensor wanted = moved.a.weight.value().clone();
  moved.scale.set_grad(Tensor::full({1}, 3));
  const Variable alias = moved.a.weight;
  const std::uint64_t version = parameter_version();
  CHECK(moved.device() == Device{});
  moved.to(sim);
  CHECK(parameter_version() != version);
  CHECK(moved.device() == sim);
  CHECK(alias.value().device() == sim);
  CHECK(moved.a.mean.device() == sim);
  CHECK(moved.scale.grad().device() == sim);
  CHECK(moved.scale.grad().item() == 3);
  CHECK(moved.count.device() == Device{});
  CHECK(test::same_values(alias.value().to(Device{}), wanted));
  // Device to host, host to device.
  other.load_state_dict(moved.state_dict(), {}, {"count"});
  CHECK(test::same_values(other.a.weight.value(), wanted));
  other.a.weight.value().fill(5);
  moved.load_state_dict(other.state_dict(), {"count"});
  CHECK(alias.value().device() == sim);
  CHECK(test::same_values(alias.value().to(Device{}), other.a.weight.value()));
  // The initialisers draw the same values everywhere; gradients accumulate where they are.
  init_normal(moved.a.weight.value(), 1, 1, "a");
  CHECK(test::same_values(alias.value().to(Device{}), wanted));
  const auto twice = [](const Variable& x) {
    return record("twice", x.value(), {x}, [](const Tensor& dy, const std::vector<bool>&) {
      const Tensor dx = dy.clone();
      scale_(dx, 2);
      return std::vector<Tensor>{dx};
    });
  };
  backward(twice(moved.scale));
  CHECK(moved.scale.grad().device() == sim);
  CHECK(moved.scale.grad().item() == 5);
  // Optimizer state follows the parameters and is loaded across devices, too.
  Sgd there(moved.parameters(), {.momentum = 0.9}), here(other.parameters(), {.momentum = 0.9});
  CHECK(there.state_dict().at("momentum.scale").device() == sim);
  here.state_dict().at("momentum.scale").fill(4);
  there.load_state_dict(here.state_dict());
  CHECK(there.state_dict().at("momentum.scale").item() == 4);
  moved.to(Device{DeviceKind::sim, 2});
  CHECK(moved.device() == Device{DeviceKind::sim, 2});
  CHECK(test::same_values(alias.value().to(Device{}), wanted));
  moved.scale.value().storage()->move_to(Device{});
  CHECK_THROWS_WITH_AS(moved.device(), doctest::Contains("'scale' is on cpu, 'a.weight' on sim:2"),
                       Error);
}

TEST_CASE("first_non_finite looks at values on a GPU") {
  const Device sim{DeviceKind::sim, 0};
  const Variable x(Tensor::full({4}, 1).to(sim), true);
  const auto same = [](const char* name, const Variable& v, double value) {
    const Tensor y = Tensor::full({4}, value, DType::f32, v.value().device());
    return record(name, y, {v}, [](const Tensor& dy, const std::vector<bool>&) {
      return std::vector<Tensor>{dy};
    });
  };
  CHECK(first_non_finite(same("c", same("b", x, 2), 3)).empty());
  CHECK(first_non_finite(same("c", same("b", x, NAN), NAN)) == "output 4 of 'b'");
}
