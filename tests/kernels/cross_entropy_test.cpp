#include "kernels/cross_entropy/cross_entropy.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <type_traits>

#include "kernels/cross_entropy/cases.h"
#include "tests/support/check.h"
#include "tests/support/device.h"
#include "tests/support/threads.h"

using namespace thorax;

namespace {

constexpr double kRounding = 0x1p-24;

Tensor maybe_slice(const Tensor& t) {
  return t.rank() > 1 ? test::as_slice(t) : t;
}

Tensor random_mask(const Shape& shape, DType dtype, std::uint64_t seed) {
  Philox random(seed);
  const Tensor mask = Tensor::empty(shape, DType::f64);
  for (std::int64_t i = 0; i < mask.numel(); ++i) mask.data<double>()[i] = random.uniform() < 0.4;
  return mask.to(dtype);
}

Tensor random_labels(std::int64_t rows, std::int64_t classes, std::uint64_t seed) {
  Philox random(seed);
  const Tensor labels = Tensor::empty({rows}, DType::i64);
  for (std::int64_t n = 0; n < rows; ++n)
    labels.data<std::int64_t>()[n] =
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(classes)));
  return labels;
}

struct Result {
  Tensor loss, dx;
};

template <class Provider, class Problem>
Result run(const Provider& provider, const Problem& p, const Tensor& x, const Tensor& target,
           double dloss = 1.5, const Tensor& weight = {}) {
  const auto on = [&](const Tensor& t) { return test::on(provider.device, t); };
  const DType type = p.dtype == DType::f64 ? DType::f64 : DType::f32;
  const Result r{on(test::poisoned({1}, type)),
                 on(maybe_slice(test::poisoned(x.shape(), p.dtype)))};
  const Tensor logits = on(x), labels = on(target);
  const Tensor gradient = on(Tensor::full({1}, dloss, type));
  if constexpr (std::is_same_v<Provider, BceProvider>) {
    const Tensor weights = weight.defined() ? on(weight) : weight;
    provider.forward(p, logits, labels, weights, r.loss);
    provider.backward(p, gradient, logits, labels, weights, r.dx);
  } else {
    provider.forward(p, logits, labels, r.loss);
    provider.backward(p, gradient, logits, labels, r.dx);
  }
  return {r.loss.to(Device{}), r.dx.to(Device{})};
}

Result run(const CrossEntropyProvider& provider, const CrossEntropyProblem& p, const Tensor& x,
           const Tensor& target, double dloss = 1.5, const Tensor& class_weights = {}) {
  const auto on = [&](const Tensor& t) { return test::on(provider.device, t); };
  const DType type = p.dtype == DType::f64 ? DType::f64 : DType::f32;
  const Result r{on(test::poisoned({1}, type)),
                 on(maybe_slice(test::poisoned(x.shape(), p.dtype)))};
  const Tensor logits = on(x), labels = on(target);
  const Tensor weights = class_weights.defined() ? on(class_weights) : Tensor();
  provider.forward(p, logits, labels, weights, r.loss);
  provider.backward(p, on(Tensor::full({1}, dloss, type)), logits, labels, weights, r.dx);
  return {r.loss.to(Device{}), r.dx.to(Device{})};
}

// 0, 0.5, 1, 1.5, 0, ...
Tensor some_weights(std::int64_t classes) {
  const Tensor weights = Tensor::empty({classes});
  for (std::int64_t k = 0; k < classes; ++k)
    weights.data<float>()[k] = static_cast<float>(k % 4) / 2;
  return weights;
}

// x[i] = ((7 i) % 11 - 5) / 2, target[i] = (5 i) % 3 == 0; 2 x 6.
Tensor golden_logits(DType dtype) {
  const Tensor x = Tensor::empty({2, 6}, DType::f64);
  for (std::int64_t i = 0; i < 12; ++i)
    x.data<double>()[i] = (static_cast<double>(i * 7 % 11) - 5) / 2;
  return x.to(dtype);
}

const std::vector<std::tuple<const char*, DType, double>> kPrecisions{
    {"reference", DType::f64, 1e-12}, {"reference", DType::f32, 1e-6}, {"cpu", DType::f32, 2e-6}};

}  // namespace

TEST_CASE("every bce_with_logits provider against the reference") {
  const BceProvider& reference = bce_with_logits_providers().named("reference");
  for (const Shape& shape : cross_entropy_cases::binary()) {
    for (const double weight : {1.0, 3.0}) {
      for (const DType type : {DType::f32, DType::u8}) {
        const BceProblem problem{.shape = shape, .pos_weight = weight};
        const Tensor x = maybe_slice(test::normals(shape, 1, DType::f32, 5.0));
        const Tensor target = random_mask(shape, type, 2);
        const Result wanted = run(reference, problem, x, target);
        const double scale = 1.5 * weight / static_cast<double>(shape.numel());
        for (const BceProvider& provider : bce_with_logits_providers().all()) {
          CAPTURE(provider.name);
          CAPTURE(problem.to_string());
          const Result got = run(provider, problem, x, target);
          // All terms are positive: 35 additions and 12 roundings a term; a gradient is one sigmoid
          // and four products.
          CHECK(test::difference(got.loss, wanted.loss, 0, 48 * kRounding).worst <= 1);
          CHECK(test::difference(got.dx, wanted.dx, 12 * kRounding * scale).worst <= 1);
        }
      }
    }
  }
}

namespace {

// 1 / number known where a mask of about two thirds is set, else 0.
Tensor known_weights(const Shape& shape, std::uint64_t seed) {
  Philox random(seed);
  const Tensor weight = Tensor::zeros(shape);
  std::int64_t known = 0;
  for (std::int64_t i = 0; i < weight.numel(); ++i) {
    weight.data<float>()[i] = random.uniform() < 0.66 ? 1.f : 0.f;
    known += weight.data<float>()[i] > 0;
  }
  for (std::int64_t i = 0; known > 0 && i < weight.numel(); ++i)
    weight.data<float>()[i] /= static_cast<float>(known);
  return weight;
}

}  // namespace

TEST_CASE("weighted bce_with_logits: every provider against the reference") {
  const BceProvider& reference = bce_with_logits_providers().named("reference");
  for (const Shape& shape : cross_entropy_cases::binary()) {
    for (const double pos_weight : {1.0, 3.0}) {
      for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
        for (const bool sliced : {false, true}) {
          const BceProblem wide{.shape = shape, .pos_weight = pos_weight, .weighted = true};
          BceProblem problem = wide;
          problem.dtype = type;
          const Tensor dense = test::normals(shape, 1, type, 5.0);
          const Tensor x = sliced ? maybe_slice(dense) : dense;
          const Tensor target = random_mask(shape, DType::f32, 2);
          const Tensor weight =
              sliced ? maybe_slice(known_weights(shape, 3)) : known_weights(shape, 3);
          const Result wanted = run(reference, wide, x.to(DType::f32), target, 1.5, weight);
          double most = 0;
          const Tensor flat = weight.to_contiguous();
          for (std::int64_t i = 0; i < flat.numel(); ++i)
            most = std::max(most, static_cast<double>(flat.data<float>()[i]));
          const double digits = type == DType::f32 ? 0 : type == DType::f16 ? 0x1p-11 : 0x1p-8;
          for (const BceProvider& provider : bce_with_logits_providers().all()) {
            if (provider.priority(problem) < 0) continue;
            CAPTURE(provider.name);
            CAPTURE(problem.to_string());
            const Result got = run(provider, problem, x, target, 1.5, weight);
            CHECK(test::difference(got.loss, wanted.loss, 0, 50 * kRounding).worst <= 1);
            CHECK(test::difference(got.dx, wanted.dx,
                                   14 * kRounding * 1.5 * pos_weight * most + 0x1p-25, digits)
                      .worst <= 1);
          }
        }
      }
    }
  }
}

TEST_CASE("weighted bce_with_logits: a mask leaves the mean over what is known, and nothing else") {
  const Shape shape{5, 14};
  const Tensor x = test::normals(shape, 4, DType::f32, 3.0),
               target = random_mask(shape, DType::f32, 5), weight = known_weights(shape, 6);
  // The known elements by themselves.
  std::vector<float> logits, labels;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    if (weight.data<float>()[i] == 0) continue;
    logits.push_back(x.data<float>()[i]);
    labels.push_back(target.data<float>()[i]);
  }
  const auto count = static_cast<std::int64_t>(logits.size());
  REQUIRE(count > 20);
  REQUIRE(count < x.numel());
  const Variable all(x, true), known(Tensor::from(logits, {count}), true);
  const Variable masked = bce_with_logits(all, target, 1, weight),
                 plain = bce_with_logits(known, Tensor::from(labels, {count}));
  CHECK(masked.value().item() == doctest::Approx(plain.value().item()).epsilon(1e-6));
  backward(masked);
  backward(plain);
  std::int64_t k = 0;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const float got = all.grad().data<float>()[i];
    if (weight.data<float>()[i] == 0)
      CHECK(got == 0);
    else
      CHECK(got == doctest::Approx(known.grad().data<float>()[k++]).epsilon(1e-5));
  }
  // What the unknown targets say does not matter, to the bit.
  const Tensor other = target.to(Device{}).to(DType::f64).to(DType::f32);
  for (std::int64_t i = 0; i < x.numel(); ++i)
    if (weight.data<float>()[i] == 0) other.data<float>()[i] = 1 - other.data<float>()[i];
  CHECK(bce_with_logits(Variable(x), other, 1, weight).value().item() == masked.value().item());
  // Nothing known: no loss, no gradient.
  const Variable none(x, true);
  const Variable zero = bce_with_logits(none, target, 1, Tensor::zeros(shape));
  CHECK(zero.value().item() == 0);
  backward(zero);
  for (std::int64_t i = 0; i < x.numel(); ++i) CHECK(none.grad().data<float>()[i] == 0);
  CHECK_THROWS_WITH_AS(bce_with_logits(none, target, 1, Tensor::zeros({5, 13})),
                       doctest::Contains("and weight"), Error);
  CHECK_THROWS_WITH_AS(bce_with_logits(none, target, 1, Tensor::zeros(shape, DType::u8)),
                       doctest::Contains("f32 is wanted"), Error);
}

TEST_CASE("every cross_entropy provider against the reference") {
  const CrossEntropyProvider& reference = cross_entropy_providers().named("reference");
  for (const auto& [rows, classes] : cross_entropy_cases::rows()) {
    for (const double smoothing : {0.0, 0.1, 1.0}) {
      const CrossEntropyProblem problem{
          .rows = rows, .classes = classes, .label_smoothing = smoothing};
      const Tensor x = test::as_slice(test::normals({rows, classes}, 1, DType::f32, 4.0));
      const Tensor labels = random_labels(rows, classes, 2);
      const Result wanted = run(reference, problem, x, labels);
      const Tensor weights = some_weights(classes);
      const Result weighted = run(reference, problem, x, labels, 1.5, weights);
      // Logits lie within 40 of each other: that is the exponent's argument, whose rounding is the
      // exponential's relative error; then 35 additions in lanes and a few roundings.
      const double bound = (40 + 48) * kRounding;
      for (const CrossEntropyProvider& provider : cross_entropy_providers().all()) {
        CAPTURE(provider.name);
        CAPTURE(problem.to_string());
        const Result got = run(provider, problem, x, labels);
        CHECK(test::difference(got.loss, wanted.loss, bound, 4 * kRounding).worst <= 1);
        CHECK(test::difference(got.dx, wanted.dx, bound * 1.5 / static_cast<double>(rows)).worst <=
              1);
        // Weights of 1.5 at most.
        const Result same = run(provider, problem, x, labels, 1.5, weights);
        CHECK(test::difference(same.loss, weighted.loss, 1.5 * bound, 4 * kRounding).worst <= 1);
        CHECK(test::difference(same.dx, weighted.dx, 1.5 * bound * 1.5 / static_cast<double>(rows))
                  .worst <= 1);
      }
    }
  }
}

TEST_CASE(
    "classification losses with 16-bit logits: loss in float, a gradient times a loss scale") {
  const double scale = 65536;
  for (const DType type : {DType::f16, DType::bf16}) {
    const double digits = type == DType::f16 ? 0x1p-11 : 0x1p-8;  // of the gradient's last rounding
    for (const Shape& shape : {Shape{7}, Shape{30, 31, 3}}) {
      const Tensor x = test::normals(shape, 1, type, 5.0);
      const BceProblem wide{.shape = shape, .pos_weight = 2}, narrow{shape, 2, type};
      for (const DType target_type : {DType::f32, DType::u8, type}) {
        const Tensor target = random_mask(shape, target_type, 2);
        const Result wanted =
            run(bce_with_logits_providers().named("reference"), wide, x.to(DType::f32),
                target_type == type ? target.to(DType::f32) : target, scale);
        for (const BceProvider& provider : bce_with_logits_providers().all()) {
          if (provider.priority(narrow) < 0) continue;
          CAPTURE(provider.name);
          const Result got = run(provider, narrow, x, target, scale);
          CHECK(test::difference(got.loss, wanted.loss, 0, 48 * kRounding).worst <= 1);
          const double bound = 12 * kRounding * 2 * scale / static_cast<double>(shape.numel());
          CHECK(test::difference(got.dx, wanted.dx, bound + 0x1p-25, digits).worst <= 1);
        }
      }
    }
    for (const auto& [rows, classes] : {std::pair{9, 3}, {3, 100}}) {
      const CrossEntropyProblem wide{rows, classes, 0.1}, narrow{rows, classes, 0.1, type};
      const Tensor x = test::normals({rows, classes}, 1, type, 4.0);
      const Tensor labels = random_labels(rows, classes, 2);
      const Result wanted =
          run(cross_entropy_providers().named("reference"), wide, x.to(DType::f32), labels, scale);
      for (const CrossEntropyProvider& provider : cross_entropy_providers().all()) {
        if (provider.priority(narrow) < 0) continue;
        CAPTURE(provider.name);
        const Result got = run(provider, narrow, x, labels, scale);
        const double bound = 88 * kRounding;
        CHECK(test::difference(got.loss, wanted.loss, bound, 4 * kRounding).worst <= 1);
        CHECK(test::difference(got.dx, wanted.dx, bound * scale / rows + 0x1p-25, digits).worst <=
              1);
      }
    }
  }
}

TEST_CASE("classification losses: slice or not, any order of threads, the same bits") {
  const Tensor x = test::normals({90, 91, 1}, 1), target = random_mask(x.shape(), DType::u8, 2);
  const BceProblem bce{.shape = x.shape(), .pos_weight = 3};
  for (const BceProvider& provider : bce_with_logits_providers().all()) {
    CAPTURE(provider.name);
    const Result once = run(provider, bce, x, target);
    test::in_every_thread_order([&] {
      const Result again = run(provider, bce, test::as_slice(x), target);
      CHECK(test::same_bits(again.loss, once.loss));
      CHECK(test::same_bits(again.dx, once.dx));
    });
  }
  const Tensor logits = test::normals({30, 50}, 3), labels = random_labels(30, 50, 4);
  const CrossEntropyProblem problem{.rows = 30, .classes = 50, .label_smoothing = 0.1};
  for (const CrossEntropyProvider& provider : cross_entropy_providers().all()) {
    CAPTURE(provider.name);
    const Result once = run(provider, problem, logits, labels);
    test::in_every_thread_order([&] {
      const Result again = run(provider, problem, test::as_slice(logits), labels);
      CHECK(test::same_bits(again.loss, once.loss));
      CHECK(test::same_bits(again.dx, once.dx));
    });
  }
}

TEST_CASE("a NaN logit, or a label out of range on a device, makes the loss NaN") {
  const Tensor x = test::normals({5, 40}, 3);
  x.data<float>()[2 * 40 + 33] = std::numeric_limits<float>::quiet_NaN();
  const BceProblem bce{.shape = x.shape()};
  for (const BceProvider& provider : bce_with_logits_providers().all())
    CHECK(std::isnan(run(provider, bce, x, random_mask(x.shape(), DType::u8, 1)).loss.item()));
  const CrossEntropyProblem problem{.rows = 5, .classes = 40};
  for (const CrossEntropyProvider& provider : cross_entropy_providers().all()) {
    CAPTURE(provider.name);
    CHECK(std::isnan(run(provider, problem, x, random_labels(5, 40, 4)).loss.item()));
    if (provider.device == DeviceKind::cpu) continue;
    for (const std::int64_t wrong : {std::int64_t{-1}, std::int64_t{40}, std::int64_t{1} << 40}) {
      const Tensor labels = random_labels(5, 40, 4);
      labels.data<std::int64_t>()[4] = wrong;
      const Tensor fine = test::normals({5, 40}, 3);
      CHECK(std::isnan(run(provider, problem, fine, labels).loss.item()));
    }
  }
}

TEST_CASE("classification losses: 1 and 2 threads give the same bits") {
  const Tensor x = test::normals({60001, 1}, 1), target = random_mask({60001, 1}, DType::f32, 2);
  const BceProblem bce{.shape = x.shape()};
  const BceProvider& binary = bce_with_logits_providers().named("cpu");
  const Result a = test::with_threads(1, [&] { return run(binary, bce, x, target); });
  const Result b = test::with_threads(2, [&] { return run(binary, bce, x, target); });
  CHECK(test::same_values(a.loss, b.loss));
  CHECK(test::same_values(a.dx, b.dx));
  const Tensor logits = test::normals({500, 50}, 3), labels = random_labels(500, 50, 4);
  const CrossEntropyProblem problem{.rows = 500, .classes = 50, .label_smoothing = 0.1};
  const CrossEntropyProvider& many = cross_entropy_providers().named("cpu");
  const Result c = test::with_threads(1, [&] { return run(many, problem, logits, labels); });
  const Result d = test::with_threads(2, [&] { return run(many, problem, logits, labels); });
  CHECK(test::same_values(c.loss, d.loss));
  CHECK(test::same_values(c.dx, d.dx));
}

TEST_CASE("bce_with_logits: loss and gradient as PyTorch computes them") {
  const Tensor target = Tensor::empty({2, 6}, DType::f64);
  for (std::int64_t i = 0; i < 12; ++i) target.data<double>()[i] = i * 5 % 3 == 0;
  struct Golden {
    double weight, loss;
    std::vector<double> gradient;  // first two columns
  };
  for (const Golden& g : {Golden{1.0,
                                 0.5967646920738087,
                                 {-0.07701181833156304, 0.06092154821916707, -0.009933576835176474,
                                  0.041666666666666664}},
                          Golden{2.5,
                                 0.9700297867751616,
                                 {-0.19252954582890758, 0.06092154821916707, -0.02483394208794117,
                                  0.041666666666666664}}}) {
    for (const auto& [provider, dtype, bound] : kPrecisions) {
      const ProviderScope scope("bce_with_logits", provider);
      const Variable x(golden_logits(dtype), true);
      const Variable loss = bce_with_logits(x, target.to(dtype), g.weight);
      CHECK(loss.value().item() == doctest::Approx(g.loss).epsilon(bound));
      backward(loss);
      const Tensor gradient = x.grad().to(DType::f64);
      for (int row = 0; row < 2; ++row)
        for (int column = 0; column < 2; ++column)
          CHECK(std::abs(gradient.data<double>()[row * 6 + column] -
                         g.gradient[static_cast<std::size_t>(row * 2 + column)]) < bound);
    }
  }
}

TEST_CASE("cross_entropy: loss and gradient as PyTorch computes them") {
  const Tensor labels = Tensor::from(std::vector<std::int64_t>{3, 0}, {2});
  struct Golden {
    double smoothing, loss;
    std::vector<double> gradient;
    std::vector<float> weights = {};
  };
  const std::vector<float> weights{0.5f, 2, 1.25f, 3, 1, 0.25f};
  for (const Golden& g :
       {Golden{
            0.0,
            0.48161530162376287,
            {0.002383061743705692, 0.0789161666882834, 0.010680141770706572, -0.14632227828014344,
             0.04786507464343667, 0.00647783343401111, -0.23022197648179799, 0.03651048522384942,
             0.004941156858875824, 0.1636286425804654, 0.022144728689249743, 0.002996963129357557}},
        Golden{0.1,
               0.7274486349570962,
               {-0.005950271589627641, 0.07058283335495007, 0.002346808437373239,
                -0.1046556116134768, 0.03953174131010334, -0.0018554998993222235,
                -0.1885553098151313, 0.028177151890516096, -0.003392176474457508,
                0.15529530924713209, 0.013811395355916415, -0.0053363702039757755}},
        Golden{
            0.0,
            0.6735851390212806,
            {0.007149185231117077, 0.2367485000648502, 0.032040425312119716, -0.4389668348404303,
             0.14359522393031002, 0.01943350030203333, -0.11511098824089899, 0.01825524261192471,
             0.002470578429437912, 0.0818143212902327, 0.011072364344624872, 0.0014984815646787784},
            weights},
        Golden{0.1,
               0.8954419986689877,
               {0.0025853416071661283, 0.20692913895013632, 0.019843735017001957,
                -0.3729131217937397, 0.12728437815640392, 0.01627052806303148, -0.07179615294771546,
                0.004631116380578834, -0.007534325165655768, 0.0704500415052715,
                0.00458442506872902, -0.0003351048412080914},
               weights}}) {
    for (const auto& [provider, dtype, bound] : kPrecisions) {
      const ProviderScope scope("cross_entropy", provider);
      const Variable x(golden_logits(dtype), true);
      const Tensor of_classes = g.weights.empty() ? Tensor() : Tensor::from(g.weights, {6});
      const Variable loss = cross_entropy(x, labels, g.smoothing, of_classes);
      CHECK(loss.value().item() == doctest::Approx(g.loss).epsilon(bound));
      backward(loss);
      CHECK(test::difference(x.grad().to(DType::f64), Tensor::from(g.gradient, {2, 6}), bound)
                .worst <= 1);
    }
  }
}

TEST_CASE("two classes, weighted and smoothed: one logit x loses what the logits 0 and x lose") {
  const std::int64_t rows = 9;
  const double w0 = 0.75, w1 = 2.5, smoothing = 0.2;
  const Tensor labels = random_labels(rows, 2, 3), one = test::normals({rows, 1}, 4, DType::f32, 3);
  const Tensor both = Tensor::zeros({rows, 2}), target = Tensor::empty({rows, 1});
  for (std::int64_t n = 0; n < rows; ++n) {
    both.data<float>()[2 * n + 1] = one.data<float>()[n];
    target.data<float>()[n] = static_cast<float>(
        static_cast<double>(labels.data<std::int64_t>()[n]) * (1 - smoothing) + smoothing / 2);
  }
  const Variable x(one, true), y(both, true);
  const Variable binary = bce_with_logits(x, target, w1 / w0, Tensor::full({rows, 1}, w0 / rows));
  const Variable softmax =
      cross_entropy(y, labels, smoothing, Tensor::from(std::vector<float>{0.75f, 2.5f}, {2}));
  CHECK(binary.value().item() == doctest::Approx(softmax.value().item()).epsilon(1e-6));
  backward(binary);
  backward(softmax);
  for (std::int64_t n = 0; n < rows; ++n)
    CHECK(x.grad().data<float>()[n] ==
          doctest::Approx(y.grad().data<float>()[2 * n + 1]).epsilon(1e-5));
}

TEST_CASE("losses of huge logits stay finite and right") {
  const Tensor x = Tensor::from(std::vector<float>{-3e4f, 3e4f, -3e4f, 3e4f}, {4});
  const Tensor target = Tensor::from(std::vector<float>{0, 1, 1, 0}, {4});
  for (const BceProvider& provider : bce_with_logits_providers().all()) {
    CAPTURE(provider.name);
    const ProviderScope scope("bce_with_logits", provider.name);
    const Variable logits(test::on(provider.device, x), true);
    const Variable loss = bce_with_logits(logits, test::on(provider.device, target));
    CHECK(loss.value().item() == 15000);
    backward(loss);
    CHECK(test::difference(logits.grad().to(Device{}),
                           Tensor::from(std::vector<float>{0, 0, -0.25, 0.25}, {4}), 1e-30)
              .worst <= 1);
  }
  for (const CrossEntropyProvider& provider : cross_entropy_providers().all()) {
    CAPTURE(provider.name);
    const ProviderScope scope("cross_entropy", provider.name);
    const Variable logits(test::on(provider.device, x.reshape({2, 2})), true);
    const Tensor labels = Tensor::from(std::vector<std::int64_t>{1, 0}, {2});
    const Variable loss = cross_entropy(logits, test::on(provider.device, labels));
    CHECK(loss.value().item() == 30000);
    backward(loss);
    CHECK(test::difference(logits.grad().to(Device{}),
                           Tensor::from(std::vector<float>{0, 0, -0.5, 0.5}, {2, 2}), 1e-30)
              .worst <= 1);
  }
}

TEST_CASE("a NaN among the logits reaches the loss") {
  const Tensor x = test::normals({3, 20}, 1);
  x.data<float>()[25] = std::numeric_limits<float>::quiet_NaN();
  for (const char* provider : {"reference", "cpu"}) {
    CAPTURE(provider);
    const ProviderScope one("bce_with_logits", provider), two("cross_entropy", provider);
    CHECK(std::isnan(bce_with_logits(Variable(x), Tensor::zeros({3, 20})).value().item()));
    CHECK(std::isnan(cross_entropy(Variable(x), Tensor::zeros({3}, DType::i64)).value().item()));
  }
}

TEST_CASE("classification losses name what does not fit") {
  const Variable x(test::normals({4, 3}, 1));
  CHECK_THROWS_WITH_AS(bce_with_logits(x, Tensor::zeros({4, 2})),
                       doctest::Contains("logits 4x3 and target 4x2"), Error);
  CHECK_THROWS_WITH_AS(bce_with_logits(x, Tensor::zeros({4, 3}), 0),
                       doctest::Contains("positive weight 0"), Error);
  const Tensor labels = Tensor::from(std::vector<std::int64_t>{0, 2, 3, 1}, {4});
  CHECK_THROWS_WITH_AS(cross_entropy(x, labels),
                       doctest::Contains("label 3 of row 2 is not in [0, 3)"), Error);
  CHECK_THROWS_WITH_AS(cross_entropy(x, Tensor::zeros({4}, DType::i32)),
                       doctest::Contains("labels are i32"), Error);
  CHECK_THROWS_WITH_AS(cross_entropy(x, Tensor::zeros({3}, DType::i64)),
                       doctest::Contains("labels 3 for logits 4x3"), Error);
  CHECK_THROWS_WITH_AS(cross_entropy(x, Tensor::zeros({4}, DType::i64), 1.5),
                       doctest::Contains("label smoothing 1.5"), Error);
  CHECK_THROWS_WITH_AS(cross_entropy(x, Tensor::zeros({4}, DType::i64), 0, Tensor::zeros({4})),
                       doctest::Contains("class weights 4 (f32) for logits 4x3"), Error);
  CHECK_THROWS_WITH_AS(
      cross_entropy(x, Tensor::zeros({4}, DType::i64), 0, Tensor::full({3}, -1, DType::f32)),
      doctest::Contains("weight -1 of class 0"), Error);
}
