// The definition: plain loops, double accumulators, float32 or float64.
#include "engine/runtime/parallel.h"
#include "kernels/common/reference.h"
#include "kernels/conv2d/conv2d.h"

namespace thorax {
namespace {

using reference::View;

// Calls tap(h, w, r, s) for every filter tap of output (p, q) that falls inside the image.
template <class Tap>
void for_taps(const Conv2dProblem& pr, std::int64_t p, std::int64_t q, const Tap& tap) {
  for (std::int64_t r = 0; r < pr.kernel_h; ++r) {
    const std::int64_t h = p * pr.stride_h - pr.pad_h + r * pr.dilation_h;
    if (h < 0 || h >= pr.height) continue;
    for (std::int64_t s = 0; s < pr.kernel_w; ++s) {
      const std::int64_t w = q * pr.stride_w - pr.pad_w + s * pr.dilation_w;
      if (w >= 0 && w < pr.width) tap(h, w, r, s);
    }
  }
}

template <class T>
void forward(const Conv2dProblem& pr, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& residual, const Tensor& y) {
  const View<T> in(x), filter(w), out(y);
  const std::int64_t group_in = pr.in_channels / pr.groups;
  const std::int64_t group_out = pr.out_channels / pr.groups;
  // Rows of a tiny problem (gradient checks) are not worth a thread each.
  const std::int64_t row_work =
      pr.out_width() * pr.out_channels * pr.kernel_h * pr.kernel_w * group_in;
  const std::int64_t grain = std::max<std::int64_t>(1, 50000 / std::max<std::int64_t>(1, row_work));
  parallel_for(0, pr.batch * pr.out_height(), grain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const std::int64_t n = row / pr.out_height(), p = row % pr.out_height();
      for (std::int64_t q = 0; q < pr.out_width(); ++q) {
        for (std::int64_t k = 0; k < pr.out_channels; ++k) {
          double sum = bias.defined() ? static_cast<double>(bias.data<T>()[k]) : 0.0;
          const std::int64_t c0 = k / group_out * group_in;
          for_taps(pr, p, q, [&](auto h, auto v, auto r, auto s) {
            const T* a = in.pixel(n, h, v) + c0;
            const T* b = filter.pixel(k, r, s);
            for (std::int64_t c = 0; c < group_in; ++c) sum += static_cast<double>(a[c]) * b[c];
          });
          if (residual.defined()) sum += static_cast<double>(View<T>(residual).pixel(n, p, q)[k]);
          out.pixel(n, p, q)[k] = static_cast<T>(pr.relu && sum <= 0 ? 0.0 : sum);
        }
      }
    }
  });
}

template <class T>
void backward_data(const Conv2dProblem& pr, const Tensor& dy, const Tensor& w, const Tensor& y,
                   const Tensor& dx) {
  const View<T> grad(dy), filter(w), out(dx), result(pr.relu ? y : dy);
  const std::int64_t group_in = pr.in_channels / pr.groups;
  const std::int64_t group_out = pr.out_channels / pr.groups;
  // One image per chunk: outputs of one image overlap in dx, images do not.
  parallel_for(0, pr.batch, 1, [&](std::int64_t first, std::int64_t last) {
    std::vector<double> sums(static_cast<std::size_t>(pr.height * pr.width * pr.in_channels));
    for (std::int64_t n = first; n < last; ++n) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (std::int64_t p = 0; p < pr.out_height(); ++p) {
        for (std::int64_t q = 0; q < pr.out_width(); ++q) {
          for (std::int64_t k = 0; k < pr.out_channels; ++k) {
            if (pr.relu && result.pixel(n, p, q)[k] <= 0) continue;
            const double g = static_cast<double>(grad.pixel(n, p, q)[k]);
            const std::int64_t c0 = k / group_out * group_in;
            for_taps(pr, p, q, [&](auto h, auto v, auto r, auto s) {
              double* a = &sums[static_cast<std::size_t>((h * pr.width + v) * pr.in_channels + c0)];
              const T* b = filter.pixel(k, r, s);
              for (std::int64_t c = 0; c < group_in; ++c) a[c] += g * static_cast<double>(b[c]);
            });
          }
        }
      }
      for (std::int64_t i = 0; i < pr.height * pr.width; ++i)
        for (std::int64_t c = 0; c < pr.in_channels; ++c)
          out.pixel(n, i / pr.width, i % pr.width)[c] =
              static_cast<T>(sums[static_cast<std::size_t>(i * pr.in_channels + c)]);
    }
  });
}

template <class T>
void backward_filter(const Conv2dProblem& pr, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dw, const Tensor& dbias) {
  const View<T> in(x), grad(dy), out(dw), result(pr.relu ? y : dy);
  const std::int64_t group_in = pr.in_channels / pr.groups;
  const std::int64_t group_out = pr.out_channels / pr.groups;
  const std::int64_t taps = pr.kernel_h * pr.kernel_w * group_in;
  const std::int64_t work = taps * pr.batch * pr.out_height() * pr.out_width();
  const std::int64_t grain = std::max<std::int64_t>(1, 50000 / std::max<std::int64_t>(1, work));
  parallel_for(0, pr.out_channels, grain, [&](std::int64_t first, std::int64_t last) {
    std::vector<double> sums(static_cast<std::size_t>(taps));
    for (std::int64_t k = first; k < last; ++k) {
      std::fill(sums.begin(), sums.end(), 0.0);
      double bias_sum = 0;
      const std::int64_t c0 = k / group_out * group_in;
      for (std::int64_t n = 0; n < pr.batch; ++n) {
        for (std::int64_t p = 0; p < pr.out_height(); ++p) {
          for (std::int64_t q = 0; q < pr.out_width(); ++q) {
            if (pr.relu && result.pixel(n, p, q)[k] <= 0) continue;
            const double g = static_cast<double>(grad.pixel(n, p, q)[k]);
            bias_sum += g;
            for_taps(pr, p, q, [&](auto h, auto v, auto r, auto s) {
              double* a = &sums[static_cast<std::size_t>((r * pr.kernel_w + s) * group_in)];
              const T* b = in.pixel(n, h, v) + c0;
              for (std::int64_t c = 0; c < group_in; ++c) a[c] += g * static_cast<double>(b[c]);
            });
          }
        }
      }
      for (std::int64_t i = 0; i < taps; ++i)
        out.data[k * taps + i] = static_cast<T>(sums[static_cast<std::size_t>(i)]);
      if (dbias.defined()) dbias.data<T>()[k] = static_cast<T>(bias_sum);
    }
  });
}

}  // namespace

THORAX_PROVIDER(conv2d_reference, conv2d_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const Conv2dProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                     },
                 .backward_data =
                     [](const Conv2dProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward_data<T>(p, t...); });
                     },
                 .backward_filter =
                     [](const Conv2dProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward_filter<T>(p, t...); });
                     }});

}  // namespace thorax
