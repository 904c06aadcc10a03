// GFLOP/s of every conv2d and conv_transpose2d provider on every layer of the models.
//
//   conv2d_bench [--threads N] [--benchmark_filter=REGEX] [--benchmark_format=csv] ...
//
// Rows are named layer/problem/provider/pass; passes are forward, dgrad (data gradient) and wgrad
// (filter gradient). Before a provider is timed, elements of each of its results are compared
// with sums in double precision (apps/bench/conv_check.h); a wrong result is an error.
// Multiply-adds of the direct convolution count as two operations, whatever the algorithm does
// instead. References are not timed: they define results.
#include <set>

#include "apps/bench/conv_check.h"
#include "bench/bench_rows.h"
#include "kernels/common/trial.h"
#include "kernels/conv2d/cases.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv_transpose2d/cases.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"

using namespace thorax;

namespace {

// Thousandths in [-1, 1].
Tensor random(const Shape& shape, std::uint64_t seed) {
  const Tensor t = bench::integers(shape, seed, 1000);
  for (std::int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] /= 1000.0f;
  return t;
}

// How far a sum of `terms` of the products of random() and one more may be off.
double allowed(std::int64_t terms) {
  return trial_bound(terms + 1, DType::f32, DType::f32);
}

void require(const char* what, const std::string& problem, const char* provider, double error) {
  THORAX_CHECK(error <= 1, "[conv2d_bench] {} of {} by '{}' is wrong", what, problem, provider);
}

const std::vector<std::string> kPasses = {"forward", "dgrad", "wgrad"};

std::vector<bench::Measured> measured(double flops,
                                      std::initializer_list<std::function<void()>> works) {
  const auto counters = [flops](benchmark::State& state) {
    state.counters["FLOP/s"] =
        benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
  };
  std::vector<bench::Measured> rows;
  for (const auto& work : works) rows.push_back({work, counters});
  return rows;
}

std::vector<bench::Measured> prepare(const Conv2dProblem& p, const Conv2dProvider& provider) {
  const app::ConvGeometry g(p);
  const Tensor x = random(p.input_shape(), 1), w = random(p.filter_shape(), 2);
  const Tensor dy = random(p.output_shape(), 3), gate = random(p.output_shape(), 4);
  const Tensor bias = p.bias ? random({p.out_channels}, 5) : Tensor{};
  const Tensor gated = p.relu ? gate : Tensor{};
  const std::string text = p.to_string();
  const Tensor y = Tensor::empty(p.output_shape()), dx = Tensor::empty(p.input_shape());
  const Tensor dw = Tensor::empty(p.filter_shape());
  const Tensor dbias = p.bias ? Tensor::empty({p.out_channels}) : Tensor{};
  const auto forward = [=, &provider] { provider.forward(p, x, w, bias, {}, y); };
  const auto backward_data = [=, &provider] { provider.backward_data(p, dy, w, gate, dx); };
  const auto backward_filter = [=, &provider] {
    provider.backward_filter(p, x, dy, gate, dw, dbias);
  };
  forward();
  backward_data();
  backward_filter();
  require("forward", text, provider.name,
          app::y_error(g, x, w, bias, p.relu, y, allowed(g.y_terms())));
  require("data gradient", text, provider.name,
          app::x_error(g, dy, gated, w, {}, dx, allowed(g.x_terms())));
  require("filter gradient", text, provider.name,
          app::filter_error(g, x, dy, gated, dw, allowed(g.filter_terms())));
  return measured(p.flops(), {forward, backward_data, backward_filter});
}

std::vector<bench::Measured> prepare(const ConvTranspose2dProblem& p,
                                     const ConvTranspose2dProvider& provider) {
  const app::ConvGeometry g(p);
  const Tensor x = random(p.input_shape(), 1), w = random(p.filter_shape(), 2);
  const Tensor dy = random(p.output_shape(), 3);
  const Tensor bias = p.bias ? random({p.out_channels}, 5) : Tensor{};
  const std::string text = p.to_string();
  const Tensor y = Tensor::empty(p.output_shape()), dx = Tensor::empty(p.input_shape());
  const Tensor dw = Tensor::empty(p.filter_shape());
  const Tensor dbias = p.bias ? Tensor::empty({p.out_channels}) : Tensor{};
  const auto forward = [=, &provider] { provider.forward(p, x, w, bias, y); };
  const auto backward_data = [=, &provider] { provider.backward_data(p, dy, w, dx); };
  const auto backward_filter = [=, &provider] { provider.backward_filter(p, x, dy, dw, dbias); };
  forward();
  backward_data();
  backward_filter();
  require("forward", text, provider.name, app::x_error(g, x, {}, w, bias, y, allowed(g.x_terms())));
  require("data gradient", text, provider.name,
          app::y_error(g, dy, w, {}, false, dx, allowed(g.y_terms())));
  require("filter gradient", text, provider.name,
          app::filter_error(g, dy, x, {}, dw, allowed(g.filter_terms())));
  return measured(p.flops(), {forward, backward_data, backward_filter});
}

// Layers of one shape count once, under the name of the first.
template <class Cases, class Providers>
void add(const Cases& cases, const Providers& providers) {
  static std::set<std::string> seen;
  for (const auto& c : cases) {
    const std::string text = c.problem.to_string();
    if (!seen.insert(text).second) continue;
    for (const auto& provider : providers.all())
      if (provider.device == DeviceKind::cpu && provider.name != std::string("reference") &&
          provider.priority(c.problem) >= 0)
        bench::add_rows(c.name + "/" + text + "/" + provider.name, kPasses,
                        [p = c.problem, &provider] { return prepare(p, provider); });
  }
}

void add_all() {
  add(conv2d_cases::unet(512), conv2d_providers());
  add(conv_transpose2d_cases::unet(512), conv_transpose2d_providers());
  add(conv2d_cases::unet(256), conv2d_providers());
  for (const int width : {18, 32, 48}) add(conv2d_cases::hrnet(width, 224, 8), conv2d_providers());
  add(conv2d_cases::resnet(true, 224, 8), conv2d_providers());
  add(conv2d_cases::densenet121(224, 8), conv2d_providers());
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run(argc, argv, add_all);
}
