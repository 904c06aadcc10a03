// Operations on maps, element by element or by small windows; see every_provider.h.
#include "kernels/activation/activation.h"
#include "kernels/activation/cases.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm/cases.h"
#include "kernels/dropout/dropout.h"
#include "kernels/fuse_multires/cases.h"
#include "kernels/fuse_multires/fuse_multires.h"
#include "kernels/pool/cases.h"
#include "kernels/pool/pool.h"
#include "kernels/upsample/cases.h"
#include "kernels/upsample/upsample.h"
#include "tests/simulated/every_provider.h"

using namespace thorax;
using test::all_settings;
using test::every_provider;
using test::Setting;
using test::written;

namespace {

// A few blocks.
constexpr std::int64_t kElements = 3000;

std::vector<Shape> small(std::vector<Shape> shapes) {
  std::erase_if(shapes, [](const Shape& shape) { return shape.numel() > kElements; });
  return shapes;
}

}  // namespace

TEST_CASE("every activation and dropout provider") {
  for (const Shape& shape : small(elementwise_cases::all())) {
    for (const Setting& setting : all_settings()) {
      for (const ActivationKind kind :
           {ActivationKind::relu, ActivationKind::sigmoid, ActivationKind::affine,
            ActivationKind::exp, ActivationKind::log, ActivationKind::sqrt, ActivationKind::abs,
            ActivationKind::power}) {
        const ActivationProblem p{
            .kind = kind, .shape = shape, .dtype = setting.dtype, .a = 0.6, .b = 0.5};
        every_provider(activation_providers(), p, setting,
                       [&](const ActivationProvider& provider, const Setting& s) {
                         // Positive, where every function is defined.
                         const Tensor x = s.normal(shape, 1), dy = s.normal(shape, 2);
                         const ActivationProblem positive{
                             .kind = ActivationKind::sigmoid, .shape = shape, .dtype = s.dtype};
                         provider.forward(positive, x, x);
                         const Tensor y = s.result(shape), dx = s.result(shape);
                         provider.forward(p, x, y);
                         provider.backward(p, dy, differentiated_by_output(kind) ? y : x, dx);
                         CHECK(written(y));
                         CHECK(written(dx));
                       });
      }
      const DropoutProblem p{
          .shape = shape, .p = 0.3, .seed = 5, .stream = 6, .dtype = setting.dtype};
      every_provider(dropout_providers(), p, setting,
                     [&](const DropoutProvider& provider, const Setting& s) {
                       const Tensor y = s.result(shape);
                       provider.run(p, s.normal(shape, 1), y);
                       CHECK(written(y));
                     });
    }
  }
}

TEST_CASE("every batch_norm provider") {
  std::vector<Shape> shapes = small(batch_norm_awkward_shapes());
  shapes.push_back({2, 32, 48, 18});  // several chunks
  for (const Shape& shape : shapes) {
    for (const Setting& setting : all_settings()) {
      for (const bool training : {true, false}) {
        BatchNormProblem p{.shape = shape, .training = training, .dtype = setting.dtype};
        p.relu = p.residual = training;
        every_provider(
            batch_norm_providers(), p, setting,
            [&](const BatchNormProvider& provider, const Setting& s) {
              const Shape channels{p.channels()};
              const Tensor x = s.normal(shape, 1), dy = s.normal(shape, 2);
              const Tensor residual = p.residual ? s.normal(shape, 3) : Tensor{};
              const Tensor weight = s.parameter(channels, 4), bias = s.parameter(channels, 5);
              const Tensor mean = s.parameter(channels, 6, DType::f64);
              BatchNormStatistics known{mean, mean.clone()};
              known.variance.fill(2);
              if (p.training) {
                known.running_mean = s.parameter(channels, 7);
                known.running_var = s.parameter(channels, 8);
              }
              const Tensor y = s.result(shape), dx = s.result(shape);
              const Tensor dresidual = p.relu && p.residual ? s.result(shape) : Tensor{};
              const Tensor dweight = s.result_parameter(channels);
              const Tensor dbias = s.result_parameter(channels);
              provider.forward(p, x, weight, bias, residual, known, y);
              provider.backward(p, dy, x, y, weight, bias, known, dx, dresidual, dweight, dbias);
              CHECK(written(y));
              CHECK(written(dx));
              if (!p.training || provider.forward_from_parts == nullptr || p.pixels() == 0) return;
              // As an epilogue leaves them; chunks shorter than the map, so that some are merged.
              const Shape rows{(p.pixels() + 6) / 7, 3, p.channels()};
              const ChannelParts parts{Tensor::empty(rows, DType::f32, s.device), 7};
              parts.values.fill(1);
              const Tensor from_parts = s.result(shape);
              provider.forward_from_parts(p, x, parts, weight, bias, residual, known, from_parts);
              CHECK(written(from_parts));
            });
      }
    }
  }
}

TEST_CASE("every pool provider") {
  for (PoolProblem p : pool_cases()) {
    if (p.input_shape().numel() > kElements) continue;
    for (const Setting& setting : all_settings()) {
      p.dtype = setting.dtype;
      every_provider(
          pool_providers(), p, setting, [&](const PoolProvider& provider, const Setting& s) {
            const Tensor x = s.normal(p.input_shape(), 1), dy = s.normal(p.output_shape(), 2);
            const Tensor y = s.result(p.output_shape()), dx = s.result(p.input_shape());
            const Tensor argmax = p.kind == PoolKind::max
                                      ? Tensor::empty(p.output_shape(), DType::u8, s.device)
                                      : Tensor{};
            provider.forward(p, x, y, argmax);
            provider.backward(p, dy, argmax, dx);
            CHECK(written(y));
            CHECK(written(dx));
          });
    }
  }
}

TEST_CASE("every upsample provider") {
  for (UpsampleProblem p : upsample_cases()) {
    if (p.output_shape().numel() > kElements) continue;
    for (const Setting& setting : all_settings()) {
      p.dtype = setting.dtype;
      every_provider(upsample_providers(), p, setting,
                     [&](const UpsampleProvider& provider, const Setting& s) {
                       const Tensor y = s.result(p.output_shape()), dx = s.result(p.input_shape());
                       provider.forward(p, s.normal(p.input_shape(), 1), y);
                       provider.backward(p, s.normal(p.output_shape(), 2), dx);
                       CHECK(written(y));
                       CHECK(written(dx));
                     });
    }
  }
}

TEST_CASE("every fuse_multires provider") {
  for (FuseProblem p : fuse_cases()) {
    if (p.output_shape().numel() > 10000) continue;
    for (const Setting& setting : all_settings()) {
      p.dtype = setting.dtype;
      every_provider(
          fuse_providers(), p, setting, [&](const FuseProvider& provider, const Setting& s) {
            std::vector<Tensor> branches, grads;
            for (int i = 0; i < p.branches; ++i) {
              branches.push_back(s.normal(p.branch_shape(i), static_cast<std::uint64_t>(i)));
              const bool coarse = p.factors[static_cast<std::size_t>(i)] > 1;
              grads.push_back(coarse ? s.result(p.branch_shape(i)) : Tensor{});
            }
            const Tensor y = s.result(p.output_shape()), dz = s.result(p.output_shape());
            provider.forward(p, branches, y);
            provider.backward(p, s.normal(p.output_shape(), 9), p.relu ? y : Tensor{}, dz, grads);
            CHECK(written(y));
            for (const Tensor& grad : grads) CHECK((!grad.defined() || written(grad)));
          });
    }
  }
}
