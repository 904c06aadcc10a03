// GFLOP/s of every conv2d and conv_transpose2d provider on every layer of the models.
//
//   conv2d_bench [--threads N] [--benchmark_filter=REGEX] [--benchmark_format=csv] ...
//
// Rows are named layer/problem/provider/pass; passes are forward, dgrad (data gradient) and wgrad
// (filter gradient). Before a provider is timed, 64 elements of each of its results are compared
// with sums in double precision; a wrong result is an error. Multiply-adds of the direct
// convolution count as two operations, whatever the algorithm does instead. References are not
// timed: they define results.
#include <cmath>
#include <set>

#include "bench/bench_rows.h"
#include "engine/runtime/philox.h"
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

// Any convolution as sums over (x pixel, filter tap, y pixel); x is the side without stride.
struct Geometry {
  std::int64_t batch, height, width, channels, out_height, out_width, out_channels;
  std::int64_t kernel_h, kernel_w, stride, pad, dilation;

  template <class Fn>  // fn(h, w) for the input pixel under a tap, when there is one
  void under(std::int64_t p, std::int64_t q, std::int64_t r, std::int64_t s, const Fn& fn) const {
    const std::int64_t h = p * stride - pad + r * dilation, w = q * stride - pad + s * dilation;
    if (h >= 0 && h < height && w >= 0 && w < width) fn(h, w);
  }
};

struct Checker {
  const Geometry& g;
  const float *x, *y, *w;
  double sum = 0, size = 0;
  std::int64_t terms = 0;
  void add(std::int64_t xi, std::int64_t wi) { product(double(x[xi]) * double(w[wi])); }
  void product(double v) {
    sum += v;
    size += std::abs(v);
    ++terms;
  }
  bool close(float got, double bias) const {
    // Winograd's error is relative to a whole tile: the sum of sizes is scaled by its
    // amplification.
    const double bound =
        16 * (std::sqrt(double(terms)) + 1) / (1 << 24) * (size + std::sqrt(double(terms)) + 1);
    return std::abs(double(got) - sum - bias) <= bound;
  }
};

std::int64_t at(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t height,
                std::int64_t width, std::int64_t channels) {
  return ((n * height + h) * width + w) * channels + c;
}

// y = x * w + bias at a random element.
bool check_forward(const Geometry& g, const Tensor& x, const Tensor& w, const float* bias,
                   bool relu, const Tensor& y, Philox& pick) {
  const auto n = std::int64_t(pick.below(g.batch)), p = std::int64_t(pick.below(g.out_height));
  const auto q = std::int64_t(pick.below(g.out_width)),
             k = std::int64_t(pick.below(g.out_channels));
  Checker check{g, x.data<float>(), nullptr, w.data<float>()};
  for (std::int64_t r = 0; r < g.kernel_h; ++r)
    for (std::int64_t s = 0; s < g.kernel_w; ++s)
      g.under(p, q, r, s, [&](auto h, auto v) {
        for (std::int64_t c = 0; c < g.channels; ++c)
          check.add(at(n, h, v, c, g.height, g.width, g.channels),
                    ((k * g.kernel_h + r) * g.kernel_w + s) * g.channels + c);
      });
  const float got = y.data<float>()[at(n, p, q, k, g.out_height, g.out_width, g.out_channels)];
  const double added = bias ? double(bias[k]) : 0;
  if (relu && check.sum + added <= 0 && got == 0) return true;
  return check.close(got, added);
}

// x = adjoint(y) + bias at a random element; gate as the ReLU's.
bool check_adjoint(const Geometry& g, const Tensor& y, const float* gate, const Tensor& w,
                   const float* bias, const Tensor& x, Philox& pick) {
  const auto n = std::int64_t(pick.below(g.batch)), h = std::int64_t(pick.below(g.height));
  const auto v = std::int64_t(pick.below(g.width)), c = std::int64_t(pick.below(g.channels));
  Checker check{g, y.data<float>(), nullptr, w.data<float>()};
  for (std::int64_t r = 0; r < g.kernel_h; ++r) {
    for (std::int64_t s = 0; s < g.kernel_w; ++s) {
      const std::int64_t p = h + g.pad - r * g.dilation, q = v + g.pad - s * g.dilation;
      if (p < 0 || q < 0 || p % g.stride || q % g.stride) continue;
      if (p / g.stride >= g.out_height || q / g.stride >= g.out_width) continue;
      for (std::int64_t k = 0; k < g.out_channels; ++k) {
        const std::int64_t i =
            at(n, p / g.stride, q / g.stride, k, g.out_height, g.out_width, g.out_channels);
        if (!gate || gate[i] > 0)
          check.add(i, ((k * g.kernel_h + r) * g.kernel_w + s) * g.channels + c);
      }
    }
  }
  return check.close(x.data<float>()[at(n, h, v, c, g.height, g.width, g.channels)],
                     bias ? double(bias[c]) : 0);
}

bool check_filter(const Geometry& g, const Tensor& x, const Tensor& y, const float* gate,
                  const Tensor& dw, Philox& pick) {
  const auto k = std::int64_t(pick.below(g.out_channels)), c = std::int64_t(pick.below(g.channels));
  const auto r = std::int64_t(pick.below(g.kernel_h)), s = std::int64_t(pick.below(g.kernel_w));
  Checker check{g, nullptr, nullptr, nullptr};
  for (std::int64_t n = 0; n < g.batch; ++n)
    for (std::int64_t p = 0; p < g.out_height; ++p)
      for (std::int64_t q = 0; q < g.out_width; ++q)
        g.under(p, q, r, s, [&](auto h, auto v) {
          const std::int64_t i = at(n, p, q, k, g.out_height, g.out_width, g.out_channels);
          if (!gate || gate[i] > 0)
            check.product(double(x.data<float>()[at(n, h, v, c, g.height, g.width, g.channels)]) *
                          double(y.data<float>()[i]));
        });
  return check.close(dw.data<float>()[((k * g.kernel_h + r) * g.kernel_w + s) * g.channels + c], 0);
}

template <class Check>
void require(const char* what, const std::string& problem, const char* provider,
             const Check& check) {
  Philox pick(1, 9);
  for (int i = 0; i < 64; ++i)
    THORAX_CHECK(check(pick), "[conv2d_bench] {} of {} by '{}' is wrong", what, problem, provider);
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
  const Geometry g{p.batch,        p.height,      p.width,        p.in_channels,
                   p.out_height(), p.out_width(), p.out_channels, p.kernel_h,
                   p.kernel_w,     p.stride_h,    p.pad_h,        p.dilation_h};
  const Tensor x = random(p.input_shape(), 1), w = random(p.filter_shape(), 2);
  const Tensor dy = random(p.output_shape(), 3), gate = random(p.output_shape(), 4);
  const Tensor bias = p.bias ? random({p.out_channels}, 5) : Tensor{};
  const float* const gates = p.relu ? gate.data<float>() : nullptr;
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
  require("forward", text, provider.name, [&](Philox& pick) {
    return check_forward(g, x, w, p.bias ? bias.data<float>() : nullptr, p.relu, y, pick);
  });
  require("data gradient", text, provider.name,
          [&](Philox& pick) { return check_adjoint(g, dy, gates, w, nullptr, dx, pick); });
  require("filter gradient", text, provider.name,
          [&](Philox& pick) { return check_filter(g, x, dy, gates, dw, pick); });
  return measured(p.flops(), {forward, backward_data, backward_filter});
}

std::vector<bench::Measured> prepare(const ConvTranspose2dProblem& p,
                                     const ConvTranspose2dProvider& provider) {
  const Geometry g{p.batch,    p.out_height(), p.out_width(), p.out_channels,
                   p.height,   p.width,        p.in_channels, p.kernel_h,
                   p.kernel_w, p.stride_h,     p.pad_h,       p.dilation_h};
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
  require("forward", text, provider.name, [&](Philox& pick) {
    return check_adjoint(g, x, nullptr, w, p.bias ? bias.data<float>() : nullptr, y, pick);
  });
  require("data gradient", text, provider.name,
          [&](Philox& pick) { return check_forward(g, dy, w, nullptr, false, dx, pick); });
  require("filter gradient", text, provider.name,
          [&](Philox& pick) { return check_filter(g, dy, x, nullptr, dw, pick); });
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
