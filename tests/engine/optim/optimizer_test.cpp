#include "engine/optim/optimizer.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "engine/runtime/parallel.h"
#include "tests/support/check.h"
#include "tests/support/device.h"
#include "tests/support/gpu.h"

using namespace thorax;

namespace {

Module::Named parameter(std::string name, const std::vector<double>& values) {
  return {std::move(name),
          Variable(Tensor::from(values, {static_cast<std::int64_t>(values.size())}), true)};
}

const std::vector<double> kStart{0.5, -1.25, 2.0};
const std::vector<std::vector<double>> kGrads{{0.1, -0.2, 0.3}, {0.4, 0.5, -0.6}, {-0.7, 0.8, 0.9}};

void check_run(Optimizer& optimizer, const std::vector<double>& expected, double scale = 1) {
  const Variable p = optimizer.parameters()[0].variable;
  for (const auto& grad : kGrads) {
    const Tensor g = Tensor::from(grad, {3});
    scale_(g, scale);
    p.set_grad(g);
    optimizer.step(0.1, 1 / scale);
  }
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(p.value().data<double>()[i] == doctest::Approx(expected[i]).epsilon(1e-14));
}

std::unique_ptr<Optimizer> configured(const char* json, const Module::Named& p) {
  return make_optimizer(ConfigObject(parse_json(json, "run.json"), "run.json"), {p});
}

}  // namespace

// The expected values are those of torch.optim in float64, lr 0.1.
TEST_CASE("three steps agree with PyTorch") {
  check_run(*configured("{}", parameter("p", kStart)), {0.52, -1.36, 1.9399999999999997});
  check_run(
      *configured(R"({"name":"sgd","momentum":0.8,"weight_decay":0.01})", parameter("p", kStart)),
      {0.47105828949999995, -1.36467772875, 1.934377168});
  check_run(*configured(R"({"momentum":0.8,"weight_decay":0.01,"nesterov":true})",
                        parameter("p", kStart)),
            {0.49550739076399997, -1.44799858607, 1.8815489813759998}, 8);
  check_run(*configured(R"({"name":"adamw","weight_decay":0.05})", parameter("p", kStart)),
            {0.32590808901043566, -1.248425473953794, 1.8732504459726018}, 0.5);
}

TEST_CASE("decay_vectors = false spares vectors") {
  const auto p = parameter("p", kStart);
  Sgd optimizer({p}, {.weight_decay = 0.5, .decay_vectors = false});
  p.variable.set_grad(Tensor::zeros({3}, DType::f64));
  optimizer.step(0.1);
  CHECK(p.variable.value().data<double>()[2] == 2.0);
}

TEST_CASE("a parameter without gradient keeps value, state and its own step count") {
  const auto a = parameter("a", kStart), b = parameter("b", kStart);
  Sgd optimizer({a, b}, {.momentum = 0.9, .weight_decay = 0.1});
  a.variable.set_grad(Tensor::full({3}, 1, DType::f64));
  optimizer.step(0.1);
  CHECK(b.variable.value().data<double>()[0] == 0.5);
  const StateDict state = optimizer.state_dict();
  CHECK(state.at("steps").data<std::int64_t>()[0] == 1);
  CHECK(state.at("steps").data<std::int64_t>()[1] == 0);
  CHECK(state.at("momentum.a").data<double>()[0] == doctest::Approx(1.05));
  CHECK(state.at("momentum.b").data<double>()[0] == 0);
  optimizer.zero_grad();
  CHECK(!a.variable.grad().defined());
}

TEST_CASE("state survives a round trip and is checked by name, shape and type") {
  const auto a = parameter("p", kStart), b = parameter("p", kStart);
  AdamW first({a}, {}), second({b}, {});
  const Tensor g = Tensor::from(kGrads[0], {3});
  a.variable.set_grad(g);
  first.step(0.1);
  b.variable.value().copy_from(a.variable.value());
  second.load_state_dict(first.state_dict());
  b.variable.set_grad(g);
  first.step(0.1);
  second.step(0.1);
  CHECK(test::same_values(a.variable.value(), b.variable.value()));

  StateDict state = first.state_dict();
  for (auto& [name, tensor] : state) tensor = tensor.clone();
  StateDict broken = state;
  broken.erase("exp_avg.p");
  CHECK_THROWS_WITH_AS(second.load_state_dict(broken),
                       "[optimizer] state of adamw: 'exp_avg.p' is missing", Error);
  broken = state;
  broken["momentum.p"] = g;
  CHECK_THROWS_WITH_AS(second.load_state_dict(broken), doctest::Contains("'momentum.p' is unknown"),
                       Error);
  broken = state;
  broken["exp_avg.p"] = Tensor::zeros({4}, DType::f64);
  CHECK_THROWS_WITH_AS(second.load_state_dict(broken),
                       doctest::Contains("'exp_avg.p' is 4 f64, should be 3 f64"), Error);
}

TEST_CASE("construction and configuration refuse what makes no sense") {
  const auto p = parameter("p", kStart);
  CHECK_THROWS_WITH_AS(Sgd({p, p}, {}), "[optimizer] two parameters are named 'p'", Error);
  const Module::Named frozen{"f", Variable(Tensor::zeros({1}), false)};
  CHECK_THROWS_WITH_AS(Sgd({frozen}, {}), "[optimizer] no parameter requires a gradient", Error);
  CHECK_THROWS_WITH_AS(configured(R"({"momentun":0.9})", p),
                       doctest::Contains("momentun: unknown key; did you mean 'momentum'?"), Error);
  CHECK_THROWS_WITH_AS(configured(R"({"name":"adamw","momentum":0.9})", p),
                       doctest::Contains("momentum: unknown key"), Error);
  CHECK_THROWS_WITH_AS(configured(R"({"nesterov":true})", p),
                       doctest::Contains("nesterov: wants a momentum"), Error);
  CHECK_THROWS_WITH_AS(configured(R"({"name":"adamw","beta1":1})", p), doctest::Contains("beta1"),
                       Error);
}

TEST_CASE("the gradient norm has the same bits for any number of threads, and clipping uses it") {
  std::vector<Module::Named> parameters;
  for (int i = 0; i < 3; ++i) {
    const Tensor value = Tensor::zeros({100'003});
    parameters.push_back({std::to_string(i), Variable(value, true)});
    parameters.back().variable.set_grad(
        test::normals(value.shape(), static_cast<std::uint64_t>(i)));
  }
  const int threads = num_threads();
  set_num_threads(1);
  const double one = grad_norm(parameters);
  set_num_threads(3);
  const double three = grad_norm(parameters);
  set_num_threads(threads);
  CHECK(one == three);
  CHECK(one == doctest::Approx(std::sqrt(300'009.0)).epsilon(0.01));
  CHECK(clip_factor(4, 2) == 0.5);
  CHECK(clip_factor(1, 2) == 1);
  CHECK(clip_factor(100, 0) == 1);
  const auto p = parameter("p", {0, 0});
  CHECK(grad_norm({p}) == 0);
  p.variable.set_grad(Tensor::from(std::vector<double>{3, 4}, {2}));
  CHECK(grad_norm({p}) == 5);
}

TEST_CASE("the squares of many gradients on a device: one sum, a flag, the same bits every time") {
  // More tensors than one launch takes, empty ones, some not aligned, several types.
  std::vector<Tensor> here;
  for (int i = 0; i < 250; ++i) {
    const std::int64_t size = i == 60 ? 9001 : i == 5 ? 0 : 1 + i * 7 % 23;
    const DType type = i % 9 == 8 ? DType::f64 : DType::f32;
    here.push_back(test::normals({size}, static_cast<std::uint64_t>(i), type, 1 + i));
  }
  const double wanted = sum_of_squares(here).sum.item();
  std::vector<Tensor> there;
  for (std::size_t i = 0; i < here.size(); ++i) {
    const Tensor wide = Tensor::zeros({here[i].numel() + 1}, here[i].dtype());
    const Tensor part = test::on(test::gpu_kind(), wide).batch_slice(1, here[i].numel());
    part.copy_from(test::on(test::gpu_kind(), here[i]));
    there.push_back(i % 4 == 0 ? part : test::on(test::gpu_kind(), here[i]));
  }
  const SquareSum once = sum_of_squares(there);
  // Doubles in another order: at most 2000 roundings on the way to the sum.
  CHECK(once.sum.item() == doctest::Approx(wanted).epsilon(2000 * 0x1p-53));
  CHECK(once.non_finite.item() == 0);
  test::in_every_thread_order([&] { CHECK(test::same_bits(sum_of_squares(there).sum, once.sum)); });
  there[200].fill(std::numeric_limits<double>::quiet_NaN());
  CHECK(sum_of_squares(there).non_finite.item() == 1);
  here[200].fill(std::numeric_limits<double>::infinity());
  CHECK(sum_of_squares(here).non_finite.item() == 1);
  there[7] = here[7];
  const std::string mixed =
      "sum of squares of tensors on " + to_string(test::gpu()) + " and on cpu";
  CHECK_THROWS_WITH_AS(sum_of_squares(there), doctest::Contains(mixed.c_str()), Error);
  const SquareSum none = sum_of_squares(std::span<const Tensor>{});
  CHECK(none.sum.item() == 0);
  CHECK(none.non_finite.item() == 0);
}
