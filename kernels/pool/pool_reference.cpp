// The definition: plain loops, double accumulators, float32 or float64.
#include <cmath>
#include <limits>
#include <vector>

#include "engine/runtime/parallel.h"
#include "kernels/common/reference.h"
#include "kernels/pool/pool.h"

namespace thorax {
namespace {

using reference::View;

// Calls fn(p, q, rows, columns) for every window of an image.
template <class Fn>
void for_windows(const PoolProblem& pr, const Fn& fn) {
  for (std::int64_t p = 0; p < pr.out_height(); ++p)
    for (std::int64_t q = 0; q < pr.out_width(); ++q)
      fn(p, q, window_rows(pr, p), window_columns(pr, q));
}

template <class T>
void forward(const PoolProblem& pr, const Tensor& x, const Tensor& y, const Tensor& argmax) {
  const View<T> in(x), out(y);
  parallel_for(0, pr.batch, 1, [&](std::int64_t n, std::int64_t) {
    for_windows(pr, [&](auto p, auto q, const PoolWindow& rows, const PoolWindow& columns) {
      for (std::int64_t c = 0; c < pr.channels; ++c) {
        double sum = 0;
        T best = -std::numeric_limits<T>::infinity();
        std::int64_t best_h = rows.begin, best_w = columns.begin;
        for (std::int64_t h = rows.begin; h < rows.end; ++h) {
          for (std::int64_t w = columns.begin; w < columns.end; ++w) {
            const T value = in.at(n, h, w, c);
            sum += static_cast<double>(value);
            if (value > best || std::isnan(value)) {
              best = value;
              best_h = h;
              best_w = w;
            }
          }
        }
        if (pr.kind == PoolKind::avg) {
          out.at(n, p, q, c) =
              static_cast<T>(sum / static_cast<double>(pool_divisor(pr, rows, columns)));
          continue;
        }
        out.at(n, p, q, c) = best;
        if (argmax.defined())
          View<std::uint8_t>(argmax).at(n, p, q, c) =
              static_cast<std::uint8_t>((best_h - (p * pr.stride_h - pr.pad_h)) * pr.kernel_w +
                                        best_w - (q * pr.stride_w - pr.pad_w));
      }
    });
  });
}

template <class T>
void backward(const PoolProblem& pr, const Tensor& dy, const Tensor& argmax, const Tensor& dx) {
  const View<T> grad(dy), out(dx);
  parallel_for(0, pr.batch, 1, [&](std::int64_t n, std::int64_t) {
    std::vector<double> sums(static_cast<std::size_t>(pr.height * pr.width * pr.channels));
    const auto sum_at = [&](auto h, auto w, auto c) -> double& {
      return sums[static_cast<std::size_t>((h * pr.width + w) * pr.channels + c)];
    };
    for_windows(pr, [&](auto p, auto q, const PoolWindow& rows, const PoolWindow& columns) {
      for (std::int64_t c = 0; c < pr.channels; ++c) {
        const double g = static_cast<double>(grad.at(n, p, q, c));
        if (pr.kind == PoolKind::max) {
          const std::int64_t tap = View<std::uint8_t>(argmax).at(n, p, q, c);
          sum_at(p * pr.stride_h - pr.pad_h + tap / pr.kernel_w,
                 q * pr.stride_w - pr.pad_w + tap % pr.kernel_w, c) += g;
          continue;
        }
        const double share = g / static_cast<double>(pool_divisor(pr, rows, columns));
        for (std::int64_t h = rows.begin; h < rows.end; ++h)
          for (std::int64_t w = columns.begin; w < columns.end; ++w) sum_at(h, w, c) += share;
      }
    });
    for (std::int64_t h = 0; h < pr.height; ++h)
      for (std::int64_t w = 0; w < pr.width; ++w)
        for (std::int64_t c = 0; c < pr.channels; ++c)
          out.at(n, h, w, c) = static_cast<T>(sum_at(h, w, c));
  });
}

}  // namespace

THORAX_PROVIDER(pool_reference, pool_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const PoolProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                     },
                 .backward =
                     [](const PoolProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward<T>(p, t...); });
                     }});

}  // namespace thorax
