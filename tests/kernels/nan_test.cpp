// A NaN is kept (kernels/README.md): every provider of every operation that compares its values,
// on the CPU and the GPU, in every type that it takes.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "engine/registry/registry.h"
#include "kernels/activation/activation.h"
#include "kernels/augment/augment.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dice_loss/dice_loss.h"
#include "kernels/fuse_multires/fuse_multires.h"
#include "kernels/linear/linear.h"
#include "kernels/pool/pool.h"
#include "tests/support/check.h"
#include "tests/support/gpu.h"
#include "tests/support/on_device.h"

using namespace thorax;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> list(const Tensor& t) {
  const Tensor here = t.to(Device{}).to_contiguous().to(DType::f32);
  return {here.data<float>(), here.data<float>() + here.numel()};
}

// NaN where `wanted` is and nowhere else.
bool same_nans(const Tensor& got, const Tensor& wanted) {
  const std::vector<float> a = list(got), b = list(wanted);
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::isnan(a[i]) != std::isnan(b[i])) return false;
  return true;
}
bool any_nan(const Tensor& t) {
  const std::vector<float> values = list(t);
  return std::any_of(values.begin(), values.end(), [](float v) { return std::isnan(v); });
}
Tensor with(const Tensor& t, std::int64_t index, float value) {
  const Tensor result = t.clone();
  result.data<float>()[index] = value;
  return result;
}

// Calls body(provider, problem, device) for every provider, type and, of GPUs, architecture that
// there is.
template <class Provider, class Problem, class Body>
void each(const Registry<Provider>& registry, Problem problem, const Body& body) {
  for (const Provider& provider : registry.all()) {
    std::vector<Device> devices{{provider.device, 0}};
    if (provider.device == DeviceKind::sim) devices.push_back({DeviceKind::sim, 1});
    for (const Device device : devices) {
      if (device.index >= device_count(device.kind)) continue;
      const DeviceScope on(device);
      for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
        problem.dtype = dtype;
        const std::string name = provider.name;
        // tf32 supports what asks for it by name.
        const ProviderScope asked(registry.operation(), name == "cuda/mma_tf32" ? name : "");
        if (provider.priority(problem) < 0) continue;
        INFO(registry.operation() << " " << name << " on " << to_string(device) << ", "
                                  << name_of(dtype));
        body(provider, problem, device);
      }
    }
  }
}

}  // namespace

TEST_CASE("conv2d with ReLU: a NaN stays, forward and backward") {
  struct Shape2 {
    std::int64_t in, out, kernel;
  };
  for (const Shape2& s : {Shape2{16, 24, 3}, {1, 32, 3}, {8, 1, 1}, {16, 16, 1}}) {
    Conv2dProblem problem;
    problem.batch = 1;
    problem.height = problem.width = 8;
    problem.in_channels = s.in;
    problem.out_channels = s.out;
    problem.kernel_h = problem.kernel_w = s.kernel;
    problem.pad_h = problem.pad_w = s.kernel / 2;
    problem.bias = problem.relu = true;
    const Tensor x = test::normals(problem.input_shape(), 1),
                 w = test::normals(problem.filter_shape(), 2), bias = test::normals({s.out}, 3),
                 residual = test::normals(problem.output_shape(), 4),
                 dy = test::normals(problem.output_shape(), 5);
    const std::int64_t channel = s.out / 2, at = (3 * 8 + 5) * s.out + channel;
    each(conv2d_providers(), problem, [&](auto& provider, const Conv2dProblem& base, Device d) {
      const auto run = [&](const Tensor& a, const Tensor& f, const Tensor& b, const Tensor& r) {
        Conv2dProblem p = base;
        p.residual = r.defined();
        const Tensor y = test::destination(p.output_shape(), d, false, p.dtype);
        provider.forward(p, a.to(p.dtype).to(d), f.to(p.dtype).to(d), b.to(d),
                         r.defined() ? r.to(p.dtype).to(d) : r, y);
        return test::back(y);
      };
      // Of a filter or a bias: all pixels of one output and no other. Of a residual: one value.
      const Tensor one = Tensor::zeros(base.output_shape()), all = one.clone();
      one.data<float>()[at] = kNaN;
      for (std::int64_t i = channel; i < all.numel(); i += s.out) all.data<float>()[i] = kNaN;
      CHECK_FALSE(any_nan(run(x, w, bias, {})));
      CHECK(same_nans(run(x, w, with(bias, channel, kNaN), {}), all));
      // The middle tap: no output leaves it out.
      const std::int64_t taps = w.numel() / s.out;
      CHECK(same_nans(run(x, with(w, channel * taps + taps / 2, kNaN), bias, {}), all));
      CHECK(same_nans(run(x, w, bias, with(residual, at, kNaN)), one));
      // Of x: all outputs under it; Winograd's tiles may spread it further.
      const Tensor y = run(with(x, (3 * 8 + 5) * s.in, kNaN), w, bias, {});
      for (std::int64_t k = 0; k < s.out; ++k)
        CHECK(std::isnan(y.data<float>()[(3 * 8 + 5) * s.out + k]));
      // The gradient of a NaN passes as that of a positive value.
      const Tensor result = test::normals(base.output_shape(), 6);
      const auto gradients = [&](const Tensor& of) {
        const Tensor there = of.to(base.dtype).to(d), g = dy.to(base.dtype).to(d);
        const Tensor dx = test::destination(base.input_shape(), d, false, base.dtype),
                     dw = test::destination(base.filter_shape(), d),
                     db = test::destination({s.out}, d);
        provider.backward_data(base, g, w.to(base.dtype).to(d), there, dx);
        provider.backward_filter(base, x.to(base.dtype).to(d), g, there, dw, db);
        return std::vector<Tensor>{test::back(dx), test::back(dw), test::back(db)};
      };
      const auto wanted = gradients(with(result, at, 1)), got = gradients(with(result, at, kNaN));
      for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(test::same_values(got[i], wanted[i]));
    });
  }
}

TEST_CASE("linear with ReLU: a NaN stays, forward and backward") {
  LinearProblem problem;
  problem.rows = 5;
  problem.in_features = 24;
  problem.out_features = 16;
  problem.bias = problem.relu = true;
  const Tensor x = test::normals(problem.input_shape(), 1),
               w = test::normals(problem.weight_shape(), 2), bias = test::normals({16}, 3),
               dy = test::normals(problem.output_shape(), 4);
  each(linear_providers(), problem, [&](auto& provider, const LinearProblem& p, Device d) {
    const Tensor y = test::destination(p.output_shape(), d, false, p.dtype);
    provider.forward(p, x.to(p.dtype).to(d), w.to(p.dtype).to(d), with(bias, 9, kNaN).to(d), y);
    const Tensor column = Tensor::zeros(p.output_shape());
    for (std::int64_t n = 0; n < 5; ++n) column.data<float>()[n * 16 + 9] = kNaN;
    CHECK(same_nans(y, column));
    provider.forward(p, with(x, 2 * 24 + 1, kNaN).to(p.dtype).to(d), w.to(p.dtype).to(d),
                     bias.to(d), y);
    const Tensor row = Tensor::zeros(p.output_shape());
    for (std::int64_t k = 0; k < 16; ++k) row.data<float>()[2 * 16 + k] = kNaN;
    CHECK(same_nans(y, row));
    const Tensor result = test::normals(p.output_shape(), 5);
    const auto gradients = [&](const Tensor& of) {
      const Tensor there = of.to(p.dtype).to(d), g = dy.to(p.dtype).to(d);
      const Tensor dx = test::destination(p.input_shape(), d, false, p.dtype),
                   dw = test::destination(p.weight_shape(), d), db = test::destination({16}, d);
      provider.backward_data(p, g, w.to(p.dtype).to(d), there, dx);
      provider.backward_weight(p, x.to(p.dtype).to(d), g, there, dw, db);
      return std::vector<Tensor>{test::back(dx), test::back(dw), test::back(db)};
    };
    const auto wanted = gradients(with(result, 37, 1)), got = gradients(with(result, 37, kNaN));
    for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(test::same_values(got[i], wanted[i]));
  });
}

TEST_CASE("batch_norm, fuse_multires and relu: a NaN stays, forward and backward") {
  const Shape shape{2, 4, 4, 16};
  const Tensor x = test::normals(shape, 1), dy = test::normals(shape, 2),
               residual = test::normals(shape, 3), weight = test::normals({16}, 4),
               bias = test::normals({16}, 5), result = test::normals(shape, 6);
  const std::int64_t at = 21 * 16 + 6;
  const Tensor one = with(Tensor::zeros(shape), at, kNaN);
  BatchNormProblem norm;
  norm.shape = shape;
  norm.training = false;
  norm.relu = norm.residual = true;
  each(batch_norm_providers(), norm, [&](auto& provider, const BatchNormProblem& p, Device d) {
    const Tensor mean = Tensor::zeros({16}, DType::f64).to(d),
                 variance = Tensor::full({16}, 1, DType::f64).to(d);
    const Tensor y = test::destination(shape, d, false, p.dtype);
    const Tensor there = x.to(p.dtype).to(d), g = dy.to(p.dtype).to(d);
    provider.forward(p, there, weight.to(d), bias.to(d), with(residual, at, kNaN).to(p.dtype).to(d),
                     {mean, variance}, y);
    CHECK(same_nans(y, one));
    const auto masked = [&](const Tensor& of) {
      const Tensor dx = test::destination(shape, d, false, p.dtype),
                   dr = test::destination(shape, d, false, p.dtype);
      provider.backward(p, g, there, of.to(p.dtype).to(d), weight.to(d), bias.to(d),
                        {mean, variance}, dx, dr, {}, {});
      return std::vector<Tensor>{test::back(dx), test::back(dr)};
    };
    const auto wanted = masked(with(result, at, 1)), got = masked(with(result, at, kNaN));
    for (std::size_t i = 0; i < 2; ++i) CHECK(test::same_values(got[i], wanted[i]));
  });

  FuseProblem fuse;
  fuse.batch = 2;
  fuse.height = fuse.width = 4;
  fuse.channels = 16;
  fuse.branches = 2;
  fuse.factors = {1, 2, 0, 0};
  const Tensor coarse = test::normals(fuse.branch_shape(1), 7);
  each(fuse_providers(), fuse, [&](auto& provider, const FuseProblem& p, Device d) {
    const Tensor y = test::destination(shape, d, false, p.dtype);
    provider.forward(
        p, std::vector<Tensor>{with(x, at, kNaN).to(p.dtype).to(d), coarse.to(p.dtype).to(d)}, y);
    CHECK(same_nans(y, one));
    const auto masked = [&](const Tensor& of) {
      const Tensor dz = test::destination(shape, d, false, p.dtype),
                   small = test::destination(p.branch_shape(1), d, false, p.dtype);
      provider.backward(p, dy.to(p.dtype).to(d), of.to(p.dtype).to(d), dz,
                        std::vector<Tensor>{{}, small});
      return std::vector<Tensor>{test::back(dz), test::back(small)};
    };
    const auto wanted = masked(with(result, at, 1)), got = masked(with(result, at, kNaN));
    for (std::size_t i = 0; i < 2; ++i) CHECK(test::same_values(got[i], wanted[i]));
  });

  for (const ActivationKind kind : {ActivationKind::relu, ActivationKind::sigmoid}) {
    ActivationProblem problem;
    problem.kind = kind;
    problem.shape = shape;
    each(activation_providers(), problem,
         [&](auto& provider, const ActivationProblem& p, Device d) {
           const Tensor y = test::destination(shape, d, false, p.dtype);
           provider.forward(p, with(x, at, kNaN).to(p.dtype).to(d), y);
           CHECK(same_nans(y, one));
         });
  }
}

TEST_CASE("pooling: a NaN wins its window and gets the gradient; an average has it") {
  PoolProblem problem;
  problem.batch = 1;
  problem.height = problem.width = 6;
  problem.channels = 8;
  for (const PoolKind kind : {PoolKind::max, PoolKind::avg}) {
    problem.kind = kind;
    const Tensor x = with(test::normals(problem.input_shape(), 1), (2 * 6 + 3) * 8 + 5, kNaN);
    // Pixel (2, 3) lies in window (1, 1), as its second tap.
    const std::int64_t window = (1 * 3 + 1) * 8 + 5;
    each(pool_providers(), problem, [&](auto& provider, const PoolProblem& p, Device d) {
      const Tensor y = test::destination(p.output_shape(), d, false, p.dtype);
      const Tensor taps =
          kind == PoolKind::max ? Tensor::zeros(p.output_shape(), DType::u8).to(d) : Tensor{};
      provider.forward(p, x.to(p.dtype).to(d), y, taps);
      CHECK(same_nans(y, with(Tensor::zeros(p.output_shape()), window, kNaN)));
      if (kind == PoolKind::max) CHECK(taps.to(Device{}).data<std::uint8_t>()[window] == 1);
    });
  }
}

TEST_CASE("losses: a NaN logit makes the loss and its own gradient NaN") {
  const Shape shape{1, 8, 8, 1};
  const Tensor x = with(test::normals(shape, 1), 13, kNaN), target = Tensor::zeros(shape);
  for (const Device device : test::one_device_a_kind()) {
    INFO(to_string(device));
    const DeviceScope on(device);
    using Loss = std::function<Variable(const Variable&)>;
    for (const Loss& loss :
         {Loss([&](const Variable& v) { return dice_loss(v, target.to(device)); }),
          Loss([&](const Variable& v) { return bce_with_logits(v, target.to(device)); }),
          Loss([&](const Variable& v) {
            return bce_with_logits(v, target.to(device), 1, Tensor::full(shape, 0.5).to(device));
          })}) {
      const Variable logits(x.to(device), true);
      const Variable value = loss(logits);
      CHECK(std::isnan(value.value().item()));
      backward(value);
      CHECK(std::isnan(list(logits.grad())[13]));
    }
    const Variable logits(x.reshape({4, 16}).to(device), true);
    const Variable value = cross_entropy(logits, Tensor::zeros({4}, DType::i64).to(device));
    CHECK(std::isnan(value.value().item()));
    backward(value);
    CHECK(std::isnan(list(logits.grad())[13]));
    CHECK_FALSE(std::isnan(list(logits.grad())[16]));  // another row
  }
}

TEST_CASE("augment: a NaN stays one, and the range holds for the others") {
  AugmentProblem problem;
  problem.images = 1;
  problem.height = problem.width = 8;
  AugmentImage drawn;
  drawn.gamma = 0.8;
  drawn.noise = 0.5;
  const Tensor image = with(Tensor::full(problem.shape(), 0.5), 21, kNaN);
  for (const AugmentProvider& provider : augment_providers().all()) {
    INFO(provider.name << " on " << name_of(provider.device));
    const Device device{provider.device, 0};
    const Tensor out = Tensor::empty(problem.shape(), DType::f32, device);
    provider.run(problem, std::span(&drawn, 1), image.to(device), {}, out, {});
    const std::vector<float> values = list(out);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i == 21)
        CHECK(std::isnan(values[i]));
      else
        CHECK((values[i] >= 0 && values[i] <= 1));
    }
  }
}
