// Losses, masks, augmentation, optimiser steps and the tensors' own kernels; see every_provider.h.
#include <utility>

#include "engine/optim/device_step.h"
#include "engine/optim/step.h"
#include "engine/optim/weight_average.h"
#include "kernels/augment/augment.h"
#include "kernels/cross_entropy/cases.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dice_loss/cases.h"
#include "kernels/dice_loss/dice_loss.h"
#include "kernels/morphology/morphology.h"
#include "kernels/segmentation_loss/cases.h"
#include "kernels/segmentation_loss/segmentation_loss.h"
#include "tests/simulated/every_provider.h"

using namespace thorax;
using test::all_settings;
using test::every_provider;
using test::Setting;
using test::written;

namespace {

const Device kGpu = test::gpu();

// Ones and zeros by halves.
Tensor mask(const Shape& shape, std::uint64_t seed, DType dtype) {
  const Tensor t = test::normals(shape, seed, DType::f64);
  for (std::int64_t i = 0; i < t.numel(); ++i) t.data<double>()[i] = t.data<double>()[i] > 0;
  return t.to(dtype);
}

// forward and backward of a loss: loss and dlogits as float32 on the CPU. `sums`: what some losses
// pass between the two.
template <class Provider, class Problem, class... Sums>
std::pair<Tensor, Tensor> run_loss(const Provider& provider, const Problem& p, const Setting& s,
                                   const Tensor& logits, const Tensor& target,
                                   const Sums&... sums) {
  const Tensor loss = s.result_parameter({1}), dlogits = s.result(logits.shape());
  const Tensor labels = target.to(s.device);
  provider.forward(p, logits, labels, sums..., loss);
  provider.backward(p, Tensor::full({1}, 1.5, DType::f32, s.device), logits, labels, sums...,
                    dlogits);
  return {loss.to(Device{}), test::back(dlogits)};
}

// Every provider near the reference; sums_of(setting) gives the memory of the sums, if any.
template <class Provider, class Problem, class... SumsOf>
void check_loss(const Registry<Provider>& registry, const Problem& p, const Setting& setting,
                const Shape& shape, const Tensor& target, const SumsOf&... sums_of) {
  const Setting host{.device = {}};
  Problem exact = p;
  exact.dtype = DType::f32;
  const auto wanted = run_loss(registry.named("reference"), exact, host,
                               test::back(setting.normal(shape, 1)), target, sums_of(host)...);
  every_provider(registry, p, setting, [&](const Provider& provider, const Setting& s) {
    const auto got = run_loss(provider, p, s, s.normal(shape, 1), target, sums_of(s)...);
    CHECK(test::difference(got.first, wanted.first, 1e-5, 1e-4).worst <= 1);
    CHECK(test::difference(got.second, wanted.second, 1e-5, 1e-2).worst <= 1);
  });
}

}  // namespace

TEST_CASE("every bce_with_logits provider") {
  for (const Shape& shape : cross_entropy_cases::binary()) {
    if (shape.numel() > 20000) continue;
    for (const Setting& s : all_settings()) {
      const BceProblem p{.shape = shape, .pos_weight = 2, .dtype = s.dtype};
      BceProblem weighted = p;
      weighted.weighted = true;
      for (const DType type : {DType::u8, DType::f32}) {
        check_loss(bce_with_logits_providers(), p, s, shape, mask(shape, 2, type),
                   [](const Setting&) { return Tensor(); });
        check_loss(bce_with_logits_providers(), weighted, s, shape, mask(shape, 2, type),
                   [&](const Setting& memory) {
                     return Tensor::full(shape, 1.0 / static_cast<double>(shape.numel()))
                         .to(memory.device);
                   });
      }
    }
  }
}

TEST_CASE("every cross_entropy provider") {
  for (const auto& [rows, classes] : cross_entropy_cases::rows()) {
    const Tensor labels = Tensor::empty({rows}, DType::i64);
    for (std::int64_t n = 0; n < rows; ++n) labels.data<std::int64_t>()[n] = n % classes;
    for (const Setting& s : all_settings()) {
      const CrossEntropyProblem p{
          .rows = rows, .classes = classes, .label_smoothing = 0.1, .dtype = s.dtype};
      check_loss(cross_entropy_providers(), p, s, {rows, classes}, labels,
                 [](const Setting&) { return Tensor(); });
      check_loss(cross_entropy_providers(), p, s, {rows, classes}, labels,
                 [&](const Setting& where) {
                   const Tensor weights = Tensor::empty({classes});
                   for (std::int64_t k = 0; k < classes; ++k)
                     weights.data<float>()[k] = static_cast<float>(k % 4) / 2;
                   return weights.to(where.device);
                 });
    }
  }
}

TEST_CASE("every dice_loss provider") {
  for (const auto& [name, shape] : dice_loss_cases::all()) {
    if (shape.numel() > 20000) continue;
    for (const Setting& s : all_settings()) {
      for (const bool per_image : {true, false}) {
        const DiceProblem p{
            .shape = shape, .squared = per_image, .per_image = per_image, .dtype = s.dtype};
        for (const DType type : {DType::u8, DType::f32})
          check_loss(dice_loss_providers(), p, s, shape, mask(shape, 2, type),
                     [&](const Setting& memory) {
                       return memory.result_parameter({p.groups(), 3}, DType::f64);
                     });
      }
    }
  }
}

TEST_CASE("every segmentation_loss provider") {
  for (const auto& [name, shape] : segmentation_loss_cases::all()) {
    if (shape.numel() > 20000) continue;
    Tensor labels = Tensor::empty({shape[0], shape[1], shape[2]}, DType::i64);
    for (std::int64_t i = 0; i < labels.numel(); ++i)
      labels.data<std::int64_t>()[i] = i * 5 % shape[3];
    for (const Setting& s : all_settings()) {
      for (const bool softmax : {false, true}) {
        if (softmax && shape[3] < 2) continue;
        const SegmentationLossProblem p{
            .pixels = shape.numel() / shape[3],
            .classes = shape[3],
            .options = {.softmax = softmax, .squared = false, .cross_entropy = 1, .epsilon = 1e-5},
            .dtype = s.dtype};
        const auto sums = [&](const Setting& memory) {
          return memory.result_parameter({p.classes, 4}, DType::f64);
        };
        if (softmax) {
          check_loss(segmentation_loss_providers(), p, s, shape, labels, sums);
          continue;
        }
        for (const DType type : {DType::u8, DType::f32})
          check_loss(segmentation_loss_providers(), p, s, shape, mask(shape, 2, type), sums);
      }
    }
  }
}

TEST_CASE("every morphology provider") {
  for (const Shape& shape : {Shape{1, 1, 1, 1}, {2, 5, 63, 1}, {1, 9, 64, 1}, {2, 40, 70, 1}}) {
    const MorphologyProblem p{.images = shape[0], .height = shape[1], .width = shape[2]};
    every_provider(
        morphology_providers(), p, {}, [&](const MorphologyProvider& provider, const Setting& s) {
          const MorphologyProvider& reference = morphology_providers().named("reference");
          const Tensor here = mask(shape, 1, DType::u8), from = here.to(s.device);
          for (const int iterations : {1, 3, 11}) {
            for (const Structure structure : {Structure::cross, Structure::square}) {
              provider.dilate(p, iterations, structure, from, s.result_integers(shape, DType::u8));
              provider.erode(p, iterations, structure, from, s.result_integers(shape, DType::u8));
            }
          }
          for (const int connectivity : {4, 8}) {
            const Tensor labels = s.result_integers(shape, DType::i32);
            const Tensor wanted = Tensor::empty(shape, DType::i32);
            provider.label(p, connectivity, from, labels);
            reference.label(p, connectivity, here, wanted);
            CHECK(test::same_values(labels, wanted));
          }
        });
  }
}

TEST_CASE("every augment provider") {
  const Shape shape{2, 19, 35, 1};
  const AugmentProblem p{.images = 2, .height = 19, .width = 35};
  every_provider(
      augment_providers(), p, {}, [&](const AugmentProvider& provider, const Setting& s) {
        AugmentImage all;
        all.warp = all.blur = true;
        all.map = {.ax = 0.9, .bx = 0.2, .cx = 1, .ay = -0.2, .by = 0.9, .cy = 2};
        all.gamma = 1.2;
        all.salt_pepper = 0.02;
        all.noise = 0.1;
        all.seed = 4;
        const std::vector<AugmentImage> drawn{all, {}};
        const Tensor images = mask(shape, 1, DType::f32).to(s.device), masks = images.to(DType::u8);
        const Tensor out = s.result(shape);
        provider.run(p, drawn, images, masks, out, s.result_integers(shape, DType::u8));
        CHECK(written(out));
      });
}

TEST_CASE("every optimiser step") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const std::int64_t size : {1, 1000, 3000}) {
      const Shape shape{size};
      const auto values = [&](std::uint64_t seed) {
        return test::normals(shape, seed, dtype).to(kGpu);
      };
      const Tensor parameter = values(1), first = values(2), second = values(3).clone();
      second.fill(1);
      for (const SgdStepProvider& provider : sgd_step_providers().all()) {
        if (provider.device != kGpu.kind) continue;
        const ProviderScope asked("sgd", provider.name);
        sgd_step({.lr = 0.1, .momentum = 0.9, .nesterov = true}, parameter, values(4), first);
      }
      for (const AdamWStepProvider& provider : adamw_step_providers().all()) {
        if (provider.device != kGpu.kind) continue;
        const ProviderScope asked("adamw", provider.name);
        adamw_step({.lr = 0.1, .weight_decay = 0.1}, parameter, values(4), first, second);
      }
      CHECK(written(parameter));
    }
  }
}

TEST_CASE("the moving average of weights") {
  struct Weights : Module {
    Variable single = add_parameter("single", test::normals({5000}, 1, DType::f32));
    Variable two = add_parameter("double", test::normals({1000}, 2, DType::f64));
  };
  Weights weights;
  weights.to(kGpu);
  WeightAverage average(weights.parameters(), 0.9);
  average.update();
  for (const auto& [name, values] : average.averages()) CHECK(written(values));
}

TEST_CASE("the end of a step that nobody waits for") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensor loss = Tensor::full({1}, 2, dtype, kGpu);
    const Tensor skip = Tensor::full({1}, 7, DType::i32, kGpu);
    const Tensor report = test::poisoned({kStepReport}, DType::f64, kGpu);
    // More rows than the block has threads.
    const Tensor values = Tensor::full({300, 4}, 0.5, DType::f64, kGpu);
    const SquareSum squares{.sum = Tensor::full({1}, 64, DType::f64, kGpu),
                            .non_finite = Tensor::zeros({1}, DType::i32, kGpu)};
    finish_gradients(loss, squares, 2.0, values, report, skip);
    CHECK(written(report));
    // The norm is sqrt(64) * 0.5, twice what is allowed.
    CHECK(values.to(Device{}).data<double>()[4 * 299] == 0.25);
    CHECK(skip.to(Device{}).data<std::int32_t>()[0] == 0);
  }
}

TEST_CASE("the tensors' own kernels") {
  for (const Shape& shape : {Shape{2, 5, 7, 12}, {1, 33, 40, 3}}) {
    for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
      const Setting s{kGpu, DType::f32, true};
      const Tensor a = s.normal(shape, 1).to(dtype);
      const Tensor slice = test::as_slice(a);
      CHECK(written(slice.to_contiguous()));
      CHECK(written(slice.to(DType::f32)));
      CHECK(written(nhwc_to_nchw(a)));
      CHECK(all_finite(a));
      CHECK(sum_of_squares(slice) > 0);
      if (size_of(dtype) == 2) continue;
      add_(slice, a);
      scale_(slice, 0.5);
      CHECK(written(slice));
    }
  }
}
