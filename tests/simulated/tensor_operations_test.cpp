// Arithmetic, reductions, permutations and softmax; see every_provider.h.
#include "kernels/binary/binary.h"
#include "kernels/binary/cases.h"
#include "kernels/permute/cases.h"
#include "kernels/reduce/cases.h"
#include "kernels/softmax/cases.h"
#include "kernels/softmax/softmax.h"
#include "tests/simulated/every_provider.h"

using namespace thorax;
using test::all_settings;
using test::every_provider;
using test::Setting;
using test::written;

namespace {

constexpr std::int64_t kElements = 5000;

}  // namespace

TEST_CASE("every binary provider") {
  for (const auto& [a, b] : binary_cases::all()) {
    if (broadcast_shape("test", a, b).numel() > kElements) continue;
    for (const Setting& setting : all_settings()) {
      for (const BinaryKind kind :
           {BinaryKind::add, BinaryKind::sub, BinaryKind::mul, BinaryKind::div}) {
        const BinaryProblem p{.kind = kind, .a = a, .b = b, .dtype = setting.dtype};
        every_provider(binary_providers(), p, setting,
                       [&](const BinaryProvider& provider, const Setting& s) {
                         const Tensor y = s.result(p.result_shape());
                         provider.forward(p, s.normal(p.a, 1), s.normal(p.b, 2), y);
                         CHECK(written(y));
                       });
      }
    }
  }
}

TEST_CASE("every reduce provider") {
  for (ReduceProblem p : reduce_cases::all()) {
    if (p.shape.numel() > kElements) continue;
    for (const Setting& setting : all_settings()) {
      p.dtype = setting.dtype;
      every_provider(reduce_providers(), p, setting,
                     [&](const ReduceProvider& provider, const Setting& s) {
                       const Tensor y = s.result_parameter(p.kept_shape(), p.dtype);
                       const Tensor dx = s.result(p.shape);
                       provider.forward(p, s.normal(p.shape, 1), y);
                       provider.backward(p, s.parameter(p.kept_shape(), 2, p.dtype), dx);
                       CHECK(written(y));
                       CHECK(written(dx));
                     });
    }
  }
}

TEST_CASE("every permute provider") {
  for (PermuteProblem p : permute_cases::all()) {
    for (const Setting& setting : all_settings()) {
      p.dtype = setting.dtype;
      every_provider(permute_providers(), p, setting,
                     [&](const PermuteProvider& provider, const Setting& s) {
                       const Tensor y = s.result(p.result_shape());
                       provider.forward(p, s.normal(p.shape, 1), y);
                       CHECK(written(y));
                     });
    }
  }
}

TEST_CASE("every softmax provider") {
  for (const Shape& shape : softmax_cases::all()) {
    if (shape.numel() > kElements) continue;
    for (const Setting& setting : all_settings()) {
      for (const bool log : {false, true}) {
        const SoftmaxProblem p{.shape = shape, .log = log, .dtype = setting.dtype};
        every_provider(softmax_providers(), p, setting,
                       [&](const SoftmaxProvider& provider, const Setting& s) {
                         const Tensor y = s.result(shape), dx = s.result(shape);
                         provider.forward(p, s.normal(shape, 1), y);
                         provider.backward(p, s.normal(shape, 2), y, dx);
                         CHECK(written(y));
                         CHECK(written(dx));
                       });
      }
    }
  }
}
