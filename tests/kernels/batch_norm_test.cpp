#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <iostream>
#include <thread>

#include "engine/autograd/recompute.h"
#include "engine/runtime/parallel.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm/cases.h"
#include "tests/support/check.h"
#include "tests/support/on_device.h"

using namespace thorax;
using test::as_slice;
using test::normals;
using test::poisoned;
using test::same_values;

namespace {

constexpr double kU = 0x1p-24;  // half an ulp of float32, relative
// Float additions in a row before a provider may switch to double: bounds assume no longer chains.
constexpr double kChain = 64;

const BatchNormProvider& reference() {
  return batch_norm_providers().named("reference");
}

struct Inputs {
  Tensor x, weight, bias, residual, dy, mean, variance;
};

// On the CPU in float32; values that problem.dtype has.
Inputs make_inputs(const BatchNormProblem& pr) {
  const auto values = [&](std::uint64_t seed) {
    return test::rounded(normals(pr.shape, seed), pr.dtype);
  };
  const Shape channels{pr.channels()};
  Inputs in;
  in.x = values(1);
  in.weight = normals(channels, 2);
  in.bias = normals(channels, 3);
  if (pr.residual) in.residual = values(4);
  in.dy = values(5);
  in.mean = poisoned(channels, DType::f64);
  in.variance = poisoned(channels, DType::f64);
  if (!pr.training) {
    in.mean = normals(channels, 6, DType::f64);
    in.variance = normals(channels, 7, DType::f64);
    for (std::int64_t c = 0; c < pr.channels(); ++c) {
      double& v = in.variance.data<double>()[c];
      v = v * v + 0.1;
    }
  }
  return in;
}

// The same for a provider; slices if asked for. Copies of mean and variance, which forward writes.
Inputs inputs_on(Device device, const BatchNormProblem& pr, const Inputs& in, bool sliced) {
  const auto activation = [&](const Tensor& t) {
    return t.defined() ? test::placed(t, device, sliced, pr.dtype) : t;
  };
  return {activation(in.x),
          in.weight.to(device),
          in.bias.to(device),
          activation(in.residual),
          activation(in.dy),
          in.mean.clone().to(device),
          in.variance.clone().to(device)};
}

Tensor coefficients(const BatchNormProblem& pr, Device device) {
  return poisoned({3, pr.channels()}, DType::f32, device);
}

// Everything that forward and backward of a provider give.
struct Results {
  Tensor y, mean, variance, dx, dresidual, dweight, dbias;
};
Results run(const BatchNormProvider& provider, const BatchNormProblem& pr, const Inputs& values,
            bool sliced) {
  const Device device = test::device_of(provider);
  const Inputs in = inputs_on(device, pr, values, sliced);
  const auto output = [&] { return test::destination(pr.shape, device, sliced, pr.dtype); };
  Results r;
  r.mean = in.mean;
  r.variance = in.variance;
  r.y = output();
  const BatchNormStatistics known{r.mean, r.variance, coefficients(pr, device)};
  provider.forward(pr, in.x, in.weight, in.bias, in.residual, known, r.y);
  if (pr.pixels() == 0) {
    r.mean.fill(0);
    r.variance.fill(1);
  }
  r.dx = output();
  if (pr.relu && pr.residual) r.dresidual = output();
  r.dweight = poisoned({pr.channels()}, DType::f32, device);
  r.dbias = r.dweight.clone();
  provider.backward(pr, in.dy, in.x, r.y, in.weight, in.bias, known, r.dx, r.dresidual, r.dweight,
                    r.dbias);
  if (pr.dtype == DType::f32)
    for (const Tensor* t : {&r.y, &r.dx, &r.dresidual})
      CHECK((!t->defined() || test::neighbours_untouched(*t)));
  for (Tensor* t : {&r.mean, &r.variance, &r.dweight, &r.dbias}) *t = t->to(Device{});
  for (Tensor* t : {&r.y, &r.dx, &r.dresidual})
    if (t->defined()) *t = t->to(Device{}).to_contiguous();  // of pr.dtype
  return r;
}

// 16-bit results are rounded once more.
double rounding(DType dtype, double value) {
  if (size_of(dtype) != 2) return 0;
  const test::Rounding last = test::rounding_of(dtype);
  return 1.01 * last.relative * std::abs(value) + last.absolute;
}

Tensor f64(const Tensor& t) {
  return t.to_contiguous().to(DType::f64);
}

struct Worst {
  double share = 0;
  std::string where;
  void add(double error, double bound, const char* what, std::int64_t index) {
    const double s = error == 0 ? 0 : error / bound;
    if (!(s <= share)) {
      share = std::isnan(s) ? INFINITY : s;
      where = fmt::format("{}[{}]", what, index);
    }
  }
};

// Per channel: the largest distance from the mean, and the mean square distance from any pixel of
// the channel that a provider may have shifted by.
struct Spread {
  std::vector<double> far, square;
};
Spread spread(const BatchNormProblem& pr, const double* x, const double* mean, const double* var) {
  Spread s;
  s.far.resize(static_cast<std::size_t>(pr.channels()));
  s.square = s.far;
  for (std::int64_t p = 0; p < pr.pixels(); ++p)
    for (std::int64_t c = 0; c < pr.channels(); ++c) {
      double& far = s.far[static_cast<std::size_t>(c)];
      far = std::max(far, std::abs(x[p * pr.channels() + c] - mean[c]));
    }
  for (std::size_t c = 0; c < s.far.size(); ++c) s.square[c] = var[c] + s.far[c] * s.far[c];
  return s;
}

// Largest error of a forward result as a share of its bound. A float sum of k terms is off by k u
// times the sum of magnitudes; the statistics add that, the map rounds a few times.
Worst forward_error(const BatchNormProblem& pr, const Inputs& in, const Tensor& mean,
                    const Tensor& variance, const Tensor& y) {
  Worst worst;
  const Tensor ref_mean = in.mean.clone(), ref_var = in.variance.clone();
  const Tensor x64 = f64(in.x), want64 = poisoned(pr.shape, DType::f64);
  BatchNormProblem exact = pr;  // in float64: no rounding of the reference's own in the way
  exact.dtype = DType::f64;
  const Tensor residual = pr.residual ? f64(in.residual) : Tensor{};
  reference().forward(exact, x64, f64(in.weight), f64(in.bias), residual, {ref_mean, ref_var},
                      want64);
  if (pr.pixels() == 0) return worst;
  const double *m = ref_mean.data<double>(), *v = ref_var.data<double>();
  const Spread s = spread(pr, x64.data<double>(), m, v);
  const Tensor got = f64(y);
  for (std::int64_t c = 0; c < pr.channels(); ++c) {
    const std::size_t k = static_cast<std::size_t>(c);
    const double off_mean = pr.training ? (kChain + 2) * kU * std::sqrt(s.square[k]) : 0;
    const double off_var = pr.training ? 3 * (kChain + 4) * kU * s.square[k] : 0;
    if (pr.training) {
      worst.add(std::abs(mean.data<double>()[c] - m[c]), off_mean, "mean", c);
      worst.add(std::abs(variance.data<double>()[c] - v[c]), off_var, "variance", c);
    }
    const double scale =
        std::abs(static_cast<double>(in.weight.data<float>()[c])) / std::sqrt(v[c] + pr.epsilon);
    for (std::int64_t p = 0; p < pr.pixels(); ++p) {
      const std::int64_t i = p * pr.channels() + c;
      const double centered = std::abs(x64.data<double>()[i] - m[c]);
      const double rest = std::abs(static_cast<double>(in.bias.data<float>()[c])) +
                          (pr.residual ? std::abs(residual.data<double>()[i]) : 0);
      const double bound = scale * off_mean +
                           scale * centered * (off_var / (v[c] + pr.epsilon) + 4 * kU) +
                           scale * std::abs(m[c]) * kU + 4 * kU * rest;
      const double want_y = want64.data<double>()[i];
      worst.add(std::abs(got.data<double>()[i] - want_y), bound + rounding(pr.dtype, want_y), "y",
                i);
    }
  }
  return worst;
}

Worst backward_error(const BatchNormProblem& pr, const Inputs& in, const Tensor& y,
                     const Tensor& mean, const Tensor& variance, const Tensor& dx,
                     const Tensor& dresidual, const Tensor& dweight, const Tensor& dbias) {
  Worst worst;
  BatchNormProblem exact = pr;
  exact.dtype = DType::f64;
  const Tensor x = f64(in.x), dy = f64(in.dy), y64 = f64(y), w = f64(in.weight);
  const Tensor want_dx = poisoned(pr.shape, DType::f64), dz = poisoned(pr.shape, DType::f64);
  const Tensor want_dw = poisoned({pr.channels()}, DType::f64),
               want_db = poisoned({pr.channels()}, DType::f64);
  reference().backward(exact, dy, x, y64, w, f64(in.bias), {mean, variance}, want_dx, dz, want_dw,
                       want_db);
  const Tensor got_dx = f64(dx), got_dw = f64(dweight), got_db = f64(dbias);
  if (dresidual.defined()) {
    INFO("the residual's gradient is dy behind the mask, exactly");
    CHECK(same_values(dresidual, dz));
  }
  const double n = static_cast<double>(pr.pixels());
  for (std::int64_t c = 0; c < pr.channels(); ++c) {
    const double inverse = 1 / std::sqrt(variance.data<double>()[c] + pr.epsilon);
    const double m = mean.data<double>()[c];
    double sum = 0, product = 0;
    const auto at = [&](std::int64_t p) { return p * pr.channels() + c; };
    // |x - float(mean)| is what a float kernel multiplies with: the mean's own rounding adds.
    const auto xhat = [&](std::int64_t p) {
      return (std::abs(x.data<double>()[at(p)] - m) + kU * std::abs(m)) * inverse;
    };
    for (std::int64_t p = 0; p < pr.pixels(); ++p) {
      sum += std::abs(dz.data<double>()[at(p)]);
      product += std::abs(dz.data<double>()[at(p)]) * xhat(p);
    }
    worst.add(std::abs(got_db.data<double>()[c] - want_db.data<double>()[c]),
              (kChain + 4) * kU * sum, "dbias", c);
    worst.add(std::abs(got_dw.data<double>()[c] - want_dw.data<double>()[c]),
              (kChain + 6) * kU * product, "dweight", c);
    const double scale = std::abs(w.data<double>()[c]) * inverse;
    for (std::int64_t p = 0; p < pr.pixels(); ++p) {
      const double z = std::abs(dz.data<double>()[at(p)]);
      const double bound =
          scale *
          (6 * kU * z + (pr.training ? (kChain + 10) * kU * (sum + xhat(p) * product) / n : 0));
      const double want = want_dx.data<double>()[at(p)];
      worst.add(std::abs(got_dx.data<double>()[at(p)] - want), bound + rounding(pr.dtype, want),
                "dx", at(p));
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("batch_norm: every provider against the reference") {
  for (const BatchNormProvider& provider : batch_norm_providers().all()) {
    const bool gpu = provider.device != DeviceKind::cpu;
    double worst_forward = 0, worst_backward = 0;
    int ran = 0;
    for (const BatchNormProblem& f32 : batch_norm_cases()) {
      for (const DType dtype : test::kActivationTypes) {
        BatchNormProblem pr = f32;
        pr.dtype = dtype;
        if (provider.priority(pr) < 0) continue;
        for (const bool sliced : {false, true}) {
          // Simulated threads take their time: every shape in every mode, half of the modes as
          // slices and in bf16, the others not and in f16.
          const bool slices = pr.relu == pr.residual;
          if (gpu && (sliced != slices || dtype == (sliced ? DType::f16 : DType::bf16))) continue;
          if (gpu && dtype != DType::f32 && pr.channels() > 150) continue;
          ++ran;
          CAPTURE(provider.name);
          CAPTURE(name_of(provider.device));
          CAPTURE(pr.to_string());
          CAPTURE(sliced);
          const Inputs in = make_inputs(pr);
          const Results r = run(provider, pr, in, sliced);
          const Worst f = forward_error(pr, in, r.mean, r.variance, r.y);
          CAPTURE(f.where);
          CHECK(f.share <= 1);
          worst_forward = std::max(worst_forward, f.share);
          const Worst b = backward_error(pr, in, r.y, r.mean, r.variance, r.dx, r.dresidual,
                                         r.dweight, r.dbias);
          CAPTURE(b.where);
          CHECK(b.share <= 1);
          worst_backward = std::max(worst_backward, b.share);
        }
      }
    }
    CHECK(ran > 0);
    std::cout << fmt::format(
        "batch_norm {} {}: {} runs, worst error forward {:.3f}, backward {:.3f} "
        "of the bound\n",
        name_of(provider.device), provider.name, ran, worst_forward, worst_backward);
  }
}

TEST_CASE("batch_norm evaluation is bit-exact where the arithmetic is") {
  // variance + epsilon = 4: the scale is a power of two times a whole weight.
  for (const BatchNormProvider& provider : batch_norm_providers().all()) {
    const Device device = test::device_of(provider);
    for (const Shape& shape : batch_norm_awkward_shapes()) {
      const BatchNormProblem pr{
          .shape = shape, .training = false, .relu = true, .residual = true, .epsilon = 0.5};
      if (provider.priority(pr) < 0) continue;
      const Shape channels{pr.channels()};
      const Tensor x = test::integers(shape, 9, 1), residual = test::integers(shape, 9, 2);
      const Tensor w = test::integers(channels, 4, 3), b = test::integers(channels, 4, 4);
      const Tensor mean = test::integers(channels, 5, 5, DType::f64);
      const Tensor variance = Tensor::full(channels, 3.5, DType::f64);
      const Tensor want = poisoned(shape), got = test::destination(shape, device);
      reference().forward(pr, x, w, b, residual, {mean, variance}, want);
      provider.forward(pr, x.to(device), w.to(device), b.to(device), residual.to(device),
                       {mean.to(device), variance.to(device)}, got);
      CAPTURE(provider.name);
      CAPTURE(shape.to_string());
      CHECK(same_values(got, want));
    }
  }
}

bool same_results(const Results& a, const Results& b) {
  return same_values(a.y, b.y) && same_values(a.mean, b.mean) &&
         same_values(a.variance, b.variance) && same_values(a.dx, b.dx) &&
         same_values(a.dweight, b.dweight) && same_values(a.dbias, b.dbias);
}

TEST_CASE("batch_norm: the bits do not depend on the number of threads") {
  const int before = num_threads();
  for (const BatchNormProvider& provider : batch_norm_providers().all()) {
    if (provider.device != DeviceKind::cpu) continue;
    for (const Shape& shape : {Shape{4, 61, 67, 18}, Shape{8, 7, 7, 2048}, Shape{2, 80, 80, 64}}) {
      const BatchNormProblem pr{.shape = shape, .relu = true};
      if (provider.priority(pr) < 0) continue;
      const Inputs in = make_inputs(pr);
      std::vector<Results> results;
      for (const int threads : {1, 2, 3}) {
        set_num_threads(threads);
        results.push_back(run(provider, pr, in, false));
      }
      set_num_threads(before);
      for (const Results& r : results) {
        CAPTURE(provider.name);
        CAPTURE(shape.to_string());
        CHECK(same_results(r, results[0]));
      }
    }
  }
}

TEST_CASE("batch_norm on a GPU: the bits depend neither on the run nor on the order of threads") {
  for (const BatchNormProvider& provider : batch_norm_providers().all()) {
    if (provider.device == DeviceKind::cpu) continue;
    // Several chunks, several tiles of channels, one column of threads.
    for (const Shape& shape : {Shape{2, 41, 37, 18}, Shape{3, 7, 7, 272}, Shape{1, 130, 129, 1}}) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        const BatchNormProblem pr{.shape = shape, .relu = true, .dtype = dtype};
        const Inputs in = make_inputs(pr);
        const auto results = test::in_every_order([&] { return run(provider, pr, in, false); });
        for (const Results& r : results) {
          CAPTURE(pr.to_string());
          CHECK(same_results(r, results[0]));
        }
      }
    }
  }
}

TEST_CASE("batch_norm on a GPU: two threads of the host, at once") {
  for (const BatchNormProvider& provider : batch_norm_providers().all()) {
    if (provider.device == DeviceKind::cpu) continue;
    const BatchNormProblem pr{.shape = {2, 41, 67, 18}, .relu = true};  // several chunks
    const Inputs in = make_inputs(pr);
    const Results want = run(provider, pr, in, false);
    std::atomic<int> ready{0}, right{0};
    const auto work = [&] {
      ++ready;
      while (ready < 2) std::this_thread::yield();
      for (int i = 0; i < 6; ++i) right += same_results(run(provider, pr, in, false), want);
    };
    std::thread first(work), second(work);
    first.join();
    second.join();
    CAPTURE(provider.name);
    CHECK(right == 12);
  }
}

TEST_CASE("batch_norm: results may lie in the memory of what is no longer needed") {
  for (const BatchNormProvider& provider : batch_norm_providers().all()) {
    const Device device = test::device_of(provider);
    CAPTURE(provider.name);
    // The second one is too large for a kernel of one block.
    for (const auto& [shape, over_x] : std::vector<std::pair<Shape, bool>>{
             {{2, 9, 7, 36}, false}, {{2, 9, 7, 36}, true}, {{3, 41, 37, 36}, true}}) {
      const BatchNormProblem pr{.shape = shape, .relu = true, .residual = true};
      const Results want = run(provider, pr, make_inputs(pr), false);
      // Made anew: on the CPU they are written to.
      const Inputs in = inputs_on(device, pr, make_inputs(pr), false);
      const Tensor x = over_x ? in.x.clone() : in.x, y = over_x ? in.x : in.residual;
      const BatchNormStatistics known{in.mean, in.variance, coefficients(pr, device)};
      provider.forward(pr, over_x ? y : x, in.weight, in.bias, in.residual, known, y);
      CHECK(same_values(y, want.y));
      // dz over dy, or dx over dy.
      const Tensor other = test::destination(pr.shape, device);
      const Tensor dw = poisoned({36}, DType::f32, device), db = dw.clone();
      const Tensor dx = over_x ? in.dy : other, dz = over_x ? other : in.dy;
      provider.backward(pr, in.dy, x, y, in.weight, in.bias, known, dx, dz, dw, db);
      CHECK(same_values(dx, want.dx));
      CHECK(same_values(dz, want.dresidual));
    }
  }
}

TEST_CASE("batch_norm: statistics keep their digits far from zero") {
  const Shape shape{2, 50, 50, 6};
  const Tensor x = normals(shape, 1, DType::f32, 0.01);
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] += 1000.0f;
  const BatchNormProblem pr{.shape = shape};
  const Tensor w = Tensor::full({6}, 1), b = Tensor::zeros({6});
  const Tensor want_mean = poisoned({6}, DType::f64), want_var = want_mean.clone(),
               want = poisoned(shape);
  reference().forward(pr, x, w, b, {}, {want_mean, want_var}, want);
  for (const BatchNormProvider& provider : batch_norm_providers().all()) {
    if (provider.priority(pr) < 0) continue;
    CAPTURE(provider.name);
    const Device device = test::device_of(provider);
    const Tensor y = test::destination(shape, device),
                 mean = test::destination({6}, device, false, DType::f64), var = mean.clone();
    provider.forward(pr, x.to(device), w.to(device), b.to(device), {}, {mean, var}, y);
    // The naive E[x^2] - E[x]^2 in float32 would lose the variance of 1e-4 beside 1e6 altogether.
    CHECK(test::difference(mean, want_mean, 1e-6).worst <= 1);
    CHECK(test::difference(var, want_var, 0, 1e-4).worst <= 1);
    CHECK(test::difference(y, want, 2e-4, 2e-4).worst <= 1);
  }
}

TEST_CASE("batch_norm: running statistics follow PyTorch") {
  const Tensor x = Tensor::from(std::vector<float>{1, 10, 2, 20, 3, 30, 6, 60}, {2, 2, 1, 2});
  const BatchNormState state{Tensor::zeros({2}), Tensor::full({2}, 1)};
  const Variable w(Tensor::full({2}, 1)), b(Tensor::zeros({2}));
  batch_norm(Variable(x), w, b, state, {});
  // Means 3 and 30; unbiased variances 14 / 3 and 1400 / 3; momentum 0.1.
  CHECK(test::difference(state.running_mean, Tensor::from(std::vector<double>{0.3, 3.0}, {2}), 1e-6)
            .worst <= 1);
  CHECK(test::difference(state.running_var,
                         Tensor::from(std::vector<double>{0.9 + 1.4 / 3, 0.9 + 140.0 / 3}, {2}), 0,
                         1e-6)
            .worst <= 1);
  SUBCASE("evaluation reads and keeps them") {
    const Tensor mean = state.running_mean.clone(), var = state.running_var.clone();
    const Tensor y = batch_norm(Variable(x), w, b, state, {.training = false}).value();
    CHECK(y.data<float>()[0] ==
          doctest::Approx((1 - 0.3) / std::sqrt(0.9 + 1.4 / 3 + 1e-5)).epsilon(1e-6));
    CHECK(same_values(state.running_mean, mean));
    CHECK(same_values(state.running_var, var));
  }
  SUBCASE("a recomputed block updates them once") {
    const Tensor before = state.running_mean.clone();
    const Variable leaf(x, true);
    const Variable y = recompute(
        [&](const std::vector<Variable>& in) { return batch_norm(in[0], w, b, state, {}); },
        {leaf});
    const Tensor once = state.running_mean.clone();
    CHECK_FALSE(same_values(once, before));
    backward(y, normals(x.shape(), 3));
    CHECK(same_values(state.running_mean, once));
  }
  SUBCASE("an empty batch leaves them alone") {
    const Tensor before = state.running_mean.clone();
    const Variable leaf(Tensor::empty({0, 2, 1, 2}), true), weight(Tensor::full({2}, 1), true);
    const Variable y = batch_norm(leaf, weight, b, state, {});
    CHECK(y.shape() == leaf.shape());
    CHECK(same_values(state.running_mean, before));
    backward(y, Tensor::empty({0, 2, 1, 2}));
    CHECK(same_values(weight.grad(), Tensor::zeros({2})));
  }
}

TEST_CASE("batch_norm on the tape: providers agree, whoever owns the gradient's memory") {
  const Shape shape{2, 9, 7, 18};
  for (const bool relu : {false, true}) {
    for (const bool shared : {false, true}) {
      const auto results_of = [&](const BatchNormProvider& provider) {
        const Device device = test::device_of(provider);
        const ProviderScope scope("batch_norm", provider.name);
        const auto on = [&](const Tensor& t) { return t.to(device); };
        const BatchNormState state{on(Tensor::zeros({18})), on(Tensor::full({18}, 1))};
        const Variable x(on(normals(shape, 1)), true), r(on(normals(shape, 2)), true);
        const Variable w(on(normals({18}, 3)), true), b(on(normals({18}, 4)), true);
        const Variable inner = batch_norm(x, w, b, state, {.relu = true});
        const Variable y = batch_norm(inner, w, b, state, {.relu = relu}, r);
        const Tensor seed = on(normals(shape, 5));
        const Tensor kept = seed.clone();
        backward(y, shared ? seed : on(normals(shape, 5)));
        CHECK(same_values(seed, kept));
        // Evaluation reads the running statistics that training left.
        const Tensor judged = batch_norm(x, w, b, state, {.training = false}).value();
        return std::vector<Tensor>{y.value(), x.grad(), r.grad(),           w.grad(),
                                   b.grad(),  judged,   state.running_mean, state.running_var};
      };
      const std::vector<Tensor> want = results_of(reference());
      for (const BatchNormProvider& provider : batch_norm_providers().all()) {
        const std::vector<Tensor> got = results_of(provider);
        for (std::size_t i = 0; i < want.size(); ++i) {
          CAPTURE(provider.name);
          CAPTURE(relu);
          CAPTURE(i);
          CHECK(got[i].device() == test::device_of(provider));
          // Gradients are sums of 126 terms of size 1 that nearly cancel: in float32 up to
          // 126 * 2^-24 of the sum of their sizes, about 1e-3; a tenth of that is allowed.
          CHECK(test::difference(got[i], want[i], 1e-4, 2e-5).worst <= 1);
        }
      }
    }
  }
}

TEST_CASE("batch_norm on the tape in 16 bits: parameters and their gradients stay in float32") {
  const Shape shape{2, 6, 5, 8};
  for (const Device device : test::one_device_a_kind()) {
    if (device.kind == DeviceKind::cpu) continue;
    for (const DType dtype : {DType::f16, DType::bf16}) {
      const auto run_in = [&](DType type, Device where) {
        const BatchNormState state{Tensor::zeros({8}, DType::f32, where),
                                   Tensor::full({8}, 1, DType::f32, where)};
        const Variable x(test::rounded(normals(shape, 1), dtype).to(type).to(where), true);
        const Variable w(normals({8}, 3).to(where), true), b(normals({8}, 4).to(where), true);
        const Variable y = batch_norm(x, w, b, state, {});
        backward(y, test::rounded(normals(shape, 5), dtype).to(type).to(where));
        return std::vector<Tensor>{y.value(), x.grad(), w.grad(), b.grad(), state.running_var};
      };
      const auto want = run_in(DType::f32, Device{}), got = run_in(dtype, device);
      const double u = test::rounding_of(dtype).relative;
      for (std::size_t i = 0; i < want.size(); ++i) {
        CAPTURE(name_of(dtype));
        CAPTURE(i);
        CHECK(got[i].dtype() == (i < 2 ? dtype : DType::f32));
        // What is kept in 16 bits is rounded once; the rest sees the same values as float32 does.
        const double tolerance = i < 2 ? u : 1e-5;
        CHECK(test::difference(got[i].to(DType::f32), want[i], 1e-5, 1.05 * tolerance).worst <= 1);
      }
    }
  }
}

TEST_CASE("batch_norm writes into a channel slice and leaves its neighbours alone") {
  const Shape shape{2, 5, 3, 18};
  const Tensor wide = Tensor::full({2, 5, 3, 24}, 7);
  const BatchNormState state{Tensor::zeros({18}), Tensor::full({18}, 1)};
  const Variable x(normals(shape, 1)), w(normals({18}, 2)), b(normals({18}, 3));
  const Variable y = batch_norm(x, w, b, state, {.out = wide.channel_slice(4, 18)});
  CHECK(y.value().storage() == wide.storage());
  CHECK(same_values(y.value(), batch_norm(x, w, b, state, {}).value()));
  CHECK(same_values(wide.channel_slice(0, 4), Tensor::full({2, 5, 3, 4}, 7)));
  CHECK(same_values(wide.channel_slice(22, 2), Tensor::full({2, 5, 3, 2}, 7)));
}

TEST_CASE("batch_norm names the shapes that do not fit") {
  const BatchNormState state{Tensor::zeros({4}), Tensor::full({4}, 1)};
  const Variable x(normals({2, 3, 3, 4}, 1)), w(normals({4}, 2)), b(normals({4}, 3));
  CHECK_THROWS_WITH_AS(batch_norm(x, Variable(normals({5}, 1)), b, state, {}),
                       doctest::Contains("[batch_norm] input 2x3x3x4 f32 wants weight and bias"),
                       Error);
  CHECK_THROWS_WITH_AS(batch_norm(x, w, b, {}, {.training = false}),
                       doctest::Contains("[batch_norm] evaluation needs running statistics"),
                       Error);
  CHECK_THROWS_WITH_AS(batch_norm(x, w, b, {Tensor::zeros({3}), Tensor::zeros({3})}, {}),
                       doctest::Contains("running statistics of 4 elements"), Error);
  CHECK_THROWS_WITH_AS(batch_norm(x, w, b, state, {}, Variable(normals({2, 3, 3, 5}, 1))),
                       doctest::Contains("[batch_norm] residual 2x3x3x5"), Error);
  CHECK_THROWS_WITH_AS(batch_norm(x, w, b, state, {.out = Tensor::empty({1})}),
                       doctest::Contains("[batch_norm] destination 1"), Error);
  CHECK_THROWS_WITH_AS(batch_norm(Variable(normals({1, 1, 1, 4}, 1)), w, b, state, {}),
                       doctest::Contains("one value per channel has no variance"), Error);
}
