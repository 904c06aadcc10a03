#include "kernels/segmentation_loss/segmentation_loss.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "engine/autograd/gradcheck.h"
#include "engine/io/config.h"
#include "kernels/dice_loss/dice_loss.h"
#include "kernels/segmentation_loss/cases.h"
#include "tests/support/check.h"
#include "tests/support/device.h"
#include "tests/support/gpu.h"
#include "tests/support/places.h"
#include "tests/support/threads.h"

using namespace thorax;

namespace {

Tensor planes(const Shape& shape, std::uint64_t seed, DType dtype) {
  Philox random(seed);
  const Tensor target = Tensor::empty(shape, DType::f64);
  for (std::int64_t i = 0; i < target.numel(); ++i)
    target.data<double>()[i] = random.uniform() < 0.3 ? 1 : 0;
  return target.to(dtype);
}

Tensor labels(const Shape& logits, std::uint64_t seed) {
  Philox random(seed);
  const Tensor target = Tensor::empty({logits[0], logits[1], logits[2]}, DType::i64);
  for (std::int64_t i = 0; i < target.numel(); ++i)
    target.data<std::int64_t>()[i] =
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(logits[3])));
  return target;
}

std::vector<SegmentationLossOptions> all_options(std::int64_t classes) {
  std::vector<SegmentationLossOptions> options;
  for (const bool softmax : {false, true}) {
    if (softmax && classes < 2) continue;
    options.push_back({.softmax = softmax});
    options.push_back({.softmax = softmax, .generalised = true});
    options.push_back({.softmax = softmax, .squared = false, .cross_entropy = 1, .epsilon = 1e-5});
  }
  return options;
}

struct Result {
  Tensor sums, loss, dx;
};
Result run(const SegmentationLossProvider& provider, const SegmentationLossProblem& p,
           const Tensor& x, const Tensor& target, double dloss = 1.5) {
  const auto on = [&](const Tensor& t) { return test::on(provider.device, t); };
  const DType type = p.dtype == DType::f64 ? DType::f64 : DType::f32;
  const Result r{on(test::poisoned({p.classes, 4}, DType::f64)), on(test::poisoned({1}, type)),
                 on(test::as_slice(test::poisoned(x.shape(), p.dtype)))};
  const Tensor logits = on(x), there = on(target);
  provider.forward(p, logits, there, r.sums, r.loss);
  provider.backward(p, on(Tensor::full({1}, dloss, type)), logits, there, r.sums, r.dx);
  return {r.sums.to(Device{}), r.loss.to(Device{}), r.dx.to(Device{})};
}

SegmentationLossProblem problem_of(const Shape& shape, const SegmentationLossOptions& options,
                                   DType dtype = DType::f32) {
  return {shape.numel() / shape[3], shape[3], options, dtype};
}

}  // namespace

TEST_CASE("every segmentation_loss provider against the reference") {
  const SegmentationLossProvider& reference = segmentation_loss_providers().named("reference");
  for (const auto& [name, shape] : segmentation_loss_cases::all()) {
    if (shape.numel() > 20000) continue;  // the simulated GPU is slow
    for (const SegmentationLossOptions& options : all_options(shape[3])) {
      const SegmentationLossProblem p = problem_of(shape, options);
      const Tensor x = test::as_slice(test::normals(shape, 1, DType::f32, 3.0));
      for (const DType type : {DType::f32, DType::u8}) {
        if (options.softmax && type == DType::u8) continue;
        const Tensor target = options.softmax ? labels(shape, 2) : planes(shape, 2, type);
        const Result wanted = run(reference, p, x, target);
        for (const SegmentationLossProvider& provider : segmentation_loss_providers().all()) {
          CAPTURE(provider.name);
          CAPTURE(name);
          CAPTURE(p.to_string());
          const Result got = run(provider, p, x, target);
          // Sums of non-negative terms, a few roundings each; only those that the problem uses.
          for (std::int64_t c = 0; c < p.classes; ++c)
            for (int s = 0; s < (options.cross_entropy > 0 ? 4 : 3); ++s)
              CHECK(got.sums.data<double>()[4 * c + s] ==
                    doctest::Approx(wanted.sums.data<double>()[4 * c + s]).epsilon(1e-5));
          CHECK(test::difference(got.loss, wanted.loss, 1e-6, 1e-5).worst <= 1);
          double largest = 0;
          for (std::int64_t i = 0; i < x.numel(); ++i)
            largest = std::max(
                largest, std::abs(static_cast<double>(wanted.dx.to_contiguous().data<float>()[i])));
          CHECK(test::difference(got.dx, wanted.dx, 1e-5 * largest + 1e-30, 1e-4).worst <= 1);
        }
      }
    }
  }
}

TEST_CASE("segmentation_loss with 16-bit logits follows float32") {
  const SegmentationLossProvider& reference = segmentation_loss_providers().named("reference");
  const Shape shape{2, 17, 15, 3};
  for (const DType type : {DType::f16, DType::bf16})
    for (const SegmentationLossOptions& options : all_options(3)) {
      const SegmentationLossProblem narrow = problem_of(shape, options, type);
      const Tensor x = test::normals(shape, 1, type, 3.0);
      const Tensor target = options.softmax ? labels(shape, 2) : planes(shape, 2, DType::f32);
      const Result wanted =
          run(reference, problem_of(shape, options), x.to(DType::f32), target, 65536);
      int tried = 0;
      for (const SegmentationLossProvider& provider : segmentation_loss_providers().all()) {
        if (provider.priority(narrow) < 0) continue;
        ++tried;
        CAPTURE(provider.name);
        CAPTURE(narrow.to_string());
        const Result got = run(provider, narrow, x, target, 65536);
        CHECK(got.loss.dtype() == DType::f32);
        CHECK(test::difference(got.loss, wanted.loss, 1e-6, 1e-5).worst <= 1);
        CHECK(test::difference(got.dx, wanted.dx, 1e-2, type == DType::f16 ? 0x1p-10 : 0x1p-7)
                  .worst <= 1);
      }
      CHECK(tried > 0);
    }
}

TEST_CASE("segmentation_loss: losses and gradients as PyTorch computes them") {
  const nlohmann::json golden =
      load_json(test::source_folder() / "tests/golden/segmentation_loss.json");
  REQUIRE(golden.at("cases").size() == 12);
  for (const nlohmann::json& g : golden.at("cases")) {
    CAPTURE(g.at("loss").get<std::string>());
    const auto classes = g.at("classes").get<std::int64_t>();
    const bool softmax = g.at("softmax");
    const std::string kind = g.at("loss");
    const Shape shape{2, 2, 3, classes};
    const Tensor x = Tensor::empty(shape, DType::f64), mask = Tensor::empty(shape, DType::f64);
    const Tensor label = Tensor::empty({2, 2, 3}, DType::i64);
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      x.data<double>()[i] = (static_cast<double>(i * 7 % 11) - 5) / 2;
      mask.data<double>()[i] = i * 5 % 7 < 3;
    }
    for (std::int64_t i = 0; i < label.numel(); ++i)
      label.data<std::int64_t>()[i] = i * 5 % classes;
    SegmentationLossOptions options{.softmax = softmax, .generalised = kind == "generalised"};
    if (kind == "dice+ce") options = {softmax, false, false, 1, 1e-5};
    for (const auto& [provider, dtype, bound] :
         {std::tuple{"reference", DType::f64, 1e-12}, {"cpu", DType::f32, 4e-6}}) {
      const ProviderScope scope("segmentation_loss", provider);
      const Variable v(x.to(dtype), true);
      const Variable loss = segmentation_loss(v, softmax ? label : mask.to(dtype), options);
      CHECK(loss.value().item() == doctest::Approx(g.at("value").get<double>()).epsilon(bound));
      backward(loss);
      const Tensor gradient = v.grad().to(DType::f64);
      for (std::int64_t i = 0; i < x.numel(); ++i)
        CHECK(std::abs(gradient.data<double>()[i] -
                       g.at("gradient")[static_cast<std::size_t>(i)].get<double>()) < bound);
    }
  }
}

TEST_CASE(
    "segmentation_loss reference: float64 gradient check, also without a class in the batch") {
  const ProviderScope reference("segmentation_loss", "reference");
  const Shape shape{2, 3, 2, 3};
  for (const SegmentationLossOptions& base : all_options(3))
    for (const bool absent : {false, true}) {
      SegmentationLossOptions options = base;
      options.epsilon = 0.5;
      Tensor target = options.softmax ? labels(shape, 3) : planes(shape, 3, DType::f64);
      if (absent && options.softmax)
        for (std::int64_t i = 0; i < target.numel(); ++i) {
          std::int64_t& label = target.data<std::int64_t>()[i];
          if (label == 2) label = 1;
        }
      if (absent && !options.softmax)
        for (std::int64_t i = 2; i < target.numel(); i += 3) target.data<double>()[i] = 0;
      const GradcheckResult result = gradcheck(
          [&](const std::vector<Variable>& in) {
            return segmentation_loss(in[0], target, options);
          },
          {test::normals(shape, 4, DType::f64)});
      CAPTURE(result.message);
      CHECK(result.ok);
    }
}

TEST_CASE("segmentation_loss of one organ by sigmoid is dice_loss") {
  const Tensor x = test::normals({2, 9, 9, 1}, 1), target = planes({2, 9, 9, 1}, 2, DType::f32);
  const Variable a(x, true), b(x, true);
  const Variable one = dice_loss(a, target), several = segmentation_loss(b, target, {});
  CHECK(several.value().item() == doctest::Approx(one.value().item()).epsilon(1e-6));
  backward(one);
  backward(several);
  CHECK(test::difference(b.grad(), a.grad(), 1e-8, 1e-4).worst <= 1);
}

TEST_CASE("segmentation_loss: threads and slices change no bit; a NaN reaches loss and gradient") {
  const Shape shape{3, 65, 71, 3};
  const SegmentationLossProvider& cpu = segmentation_loss_providers().named("cpu");
  for (const SegmentationLossOptions& options : all_options(3)) {
    const SegmentationLossProblem p = problem_of(shape, options);
    const Tensor x = test::normals(shape, 1);
    const Tensor target = options.softmax ? labels(shape, 2) : planes(shape, 2, DType::f32);
    const Result one = test::with_threads(1, [&] { return run(cpu, p, x, target); });
    const Result two =
        test::with_threads(2, [&] { return run(cpu, p, test::as_slice(x), target); });
    CHECK(test::same_values(one.loss, two.loss));
    CHECK(test::same_values(one.dx, two.dx));
  }
  const Shape small{1, 5, 5, 3};
  for (const SegmentationLossProvider& provider : segmentation_loss_providers().all())
    for (const SegmentationLossOptions& options : all_options(3)) {
      CAPTURE(provider.name);
      const Tensor x = test::normals(small, 1);
      x.data<float>()[3] = NAN;
      const Result got = run(provider, problem_of(small, options), x,
                             options.softmax ? labels(small, 2) : planes(small, 2, DType::f32));
      CHECK(std::isnan(got.loss.item()));
      CHECK(std::isnan(got.dx.to_contiguous().data<float>()[3]));
    }
}

TEST_CASE("segmentation_loss names what does not fit") {
  const Variable x(test::normals({1, 4, 4, 3}, 1));
  const auto softmax = SegmentationLossOptions{.softmax = true};
  CHECK_THROWS_WITH_AS(segmentation_loss(x, Tensor::zeros({1, 4, 4, 2}), {}),
                       doctest::Contains("logits 1x4x4x3 and target 1x4x4x2 differ"), Error);
  CHECK_THROWS_WITH_AS(segmentation_loss(x, Tensor::zeros({1, 4, 4}), softmax),
                       doctest::Contains("labels are f32, not i64"), Error);
  CHECK_THROWS_WITH_AS(segmentation_loss(x, Tensor::zeros({1, 4, 5}, DType::i64), softmax),
                       doctest::Contains("labels 1x4x5 for logits 1x4x4x3"), Error);
  const Tensor wrong = Tensor::zeros({1, 4, 4}, DType::i64);
  wrong.data<std::int64_t>()[5] = 3;
  CHECK_THROWS_WITH_AS(segmentation_loss(x, wrong, softmax),
                       doctest::Contains("label 3 of pixel 5 is not in [0, 3)"), Error);
  CHECK_THROWS_WITH_AS(segmentation_loss(Variable(test::normals({1, 4, 4, 1}, 1)),
                                         Tensor::zeros({1, 4, 4}, DType::i64), softmax),
                       doctest::Contains("with softmax 2 or more"), Error);
}
