// The definition: plain loops, double accumulators, float32 or float64.
#include <vector>

#include "engine/runtime/parallel.h"
#include "kernels/common/reference.h"
#include "kernels/fuse_multires/fuse_multires.h"

namespace thorax {
namespace {

using reference::View;

// Calls fn(n, p, q, c) for every element of the output.
template <class Fn>
void for_elements(const FuseProblem& pr, const Fn& fn) {
  parallel_for(0, pr.batch, 1, [&](std::int64_t n, std::int64_t) {
    for (std::int64_t p = 0; p < pr.height; ++p)
      for (std::int64_t q = 0; q < pr.width; ++q)
        for (std::int64_t c = 0; c < pr.channels; ++c) fn(n, p, q, c);
  });
}

template <class T>
void forward(const FuseProblem& pr, std::span<const Tensor> branches, const Tensor& y) {
  const View<T> out(y);
  for_elements(pr, [&](auto n, auto p, auto q, auto c) {
    double sum = 0;
    for (std::size_t i = 0; i < branches.size(); ++i)
      sum +=
          static_cast<double>(View<T>(branches[i]).at(n, p / pr.factors[i], q / pr.factors[i], c));
    // NaN passes: a bad value must not turn into a harmless zero.
    out.at(n, p, q, c) = static_cast<T>(pr.relu && sum <= 0 ? 0.0 : sum);
  });
}

template <class T>
void backward(const FuseProblem& pr, const Tensor& dy, const Tensor& y, const Tensor& dz,
              std::span<const Tensor> grads) {
  const View<T> grad(dy);
  const auto masked = [&](auto n, auto p, auto q, auto c) {
    return pr.relu && View<T>(y).at(n, p, q, c) <= 0 ? T{0} : grad.at(n, p, q, c);
  };
  for (std::size_t i = 0; i < grads.size(); ++i) {
    if (!grads[i].defined()) continue;
    const View<T> out(grads[i]);
    const std::int64_t f = pr.factors[i];
    parallel_for(0, pr.batch, 1, [&](std::int64_t n, std::int64_t) {
      for (std::int64_t h = 0; h < out.height; ++h)
        for (std::int64_t w = 0; w < out.width; ++w)
          for (std::int64_t c = 0; c < pr.channels; ++c) {
            double sum = 0;
            for (std::int64_t p = h * f; p < (h + 1) * f; ++p)
              for (std::int64_t q = w * f; q < (w + 1) * f; ++q)
                sum += static_cast<double>(masked(n, p, q, c));
            out.at(n, h, w, c) = static_cast<T>(sum);
          }
    });
  }
  // Last: dz may be dy's memory.
  if (dz.defined())
    for_elements(pr, [&](auto n, auto p, auto q, auto c) {
      View<T>(dz).at(n, p, q, c) = masked(n, p, q, c);
    });
}

}  // namespace

THORAX_PROVIDER(fuse_multires_reference, fuse_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const FuseProblem& p, std::span<const Tensor> branches, const Tensor& y) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, branches, y); });
                     },
                 .backward =
                     [](const FuseProblem& p, const Tensor& dy, const Tensor& y, const Tensor& dz,
                        std::span<const Tensor> grads) {
                       reference::with_type(p,
                                            [&]<class T>(T) { backward<T>(p, dy, y, dz, grads); });
                     }});

}  // namespace thorax
