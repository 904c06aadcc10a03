// The definition: plain loops, double accumulators, float32 or float64.
#include <vector>

#include "engine/runtime/parallel.h"
#include "kernels/common/reference.h"
#include "kernels/upsample/upsample.h"

namespace thorax {
namespace {

using reference::View;

// Calls tap(h, w, weight) for every input pixel that output (p, q) is made of.
template <class Tap>
void for_taps(const UpsampleProblem& pr, std::int64_t p, std::int64_t q, const Tap& tap) {
  if (pr.mode == UpsampleMode::nearest) {
    tap(p / pr.factor(), q / pr.factor(), 1.0);
    return;
  }
  const SamplePoint row = sample_point(p, pr.height, pr.out_height, pr.align_corners);
  const SamplePoint column = sample_point(q, pr.width, pr.out_width, pr.align_corners);
  tap(row.low, column.low, (1 - row.fraction) * (1 - column.fraction));
  tap(row.low, column.high, (1 - row.fraction) * column.fraction);
  tap(row.high, column.low, row.fraction * (1 - column.fraction));
  tap(row.high, column.high, row.fraction * column.fraction);
}

template <class T>
void forward(const UpsampleProblem& pr, const Tensor& x, const Tensor& y) {
  const View<T> in(x), out(y);
  parallel_for(0, pr.batch, 1, [&](std::int64_t n, std::int64_t) {
    for (std::int64_t p = 0; p < pr.out_height; ++p) {
      for (std::int64_t q = 0; q < pr.out_width; ++q) {
        for (std::int64_t c = 0; c < pr.channels; ++c) {
          double sum = 0;
          for_taps(pr, p, q, [&](auto h, auto w, double weight) {
            // A weight of zero must not let an infinite neighbour in.
            if (weight != 0) sum += weight * static_cast<double>(in.pixel(n, h, w)[c]);
          });
          out.pixel(n, p, q)[c] = static_cast<T>(sum);
        }
      }
    }
  });
}

template <class T>
void backward(const UpsampleProblem& pr, const Tensor& dy, const Tensor& dx) {
  const View<T> grad(dy), out(dx);
  parallel_for(0, pr.batch, 1, [&](std::int64_t n, std::int64_t) {
    std::vector<double> sums(static_cast<std::size_t>(pr.height * pr.width * pr.channels));
    for (std::int64_t p = 0; p < pr.out_height; ++p)
      for (std::int64_t q = 0; q < pr.out_width; ++q)
        for_taps(pr, p, q, [&](auto h, auto w, double weight) {
          for (std::int64_t c = 0; c < pr.channels; ++c)
            sums[static_cast<std::size_t>((h * pr.width + w) * pr.channels + c)] +=
                weight * static_cast<double>(grad.pixel(n, p, q)[c]);
        });
    for (std::int64_t i = 0; i < pr.height * pr.width; ++i)
      for (std::int64_t c = 0; c < pr.channels; ++c)
        out.pixel(n, i / pr.width, i % pr.width)[c] =
            static_cast<T>(sums[static_cast<std::size_t>(i * pr.channels + c)]);
  });
}

}  // namespace

THORAX_PROVIDER(upsample_reference, upsample_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const UpsampleProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                     },
                 .backward =
                     [](const UpsampleProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward<T>(p, t...); });
                     }});

}  // namespace thorax
