// The definition: plain loops, double accumulators, float32 or float64.
#include <vector>

#include "engine/runtime/parallel.h"
#include "kernels/common/reference.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"

namespace thorax {
namespace {

using reference::View;

// Calls tap(p, q, r, s) for every output pixel (p, q) that input pixel (h, w) reaches through (r,
// s).
template <class Tap>
void for_taps(const ConvTranspose2dProblem& pr, std::int64_t h, std::int64_t w, const Tap& tap) {
  for (std::int64_t r = 0; r < pr.kernel_h; ++r) {
    const std::int64_t p = h * pr.stride_h - pr.pad_h + r * pr.dilation_h;
    if (p < 0 || p >= pr.out_height()) continue;
    for (std::int64_t s = 0; s < pr.kernel_w; ++s) {
      const std::int64_t q = w * pr.stride_w - pr.pad_w + s * pr.dilation_w;
      if (q >= 0 && q < pr.out_width()) tap(p, q, r, s);
    }
  }
}

template <class T>
void forward(const ConvTranspose2dProblem& pr, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& y) {
  const View<T> in(x), filter(w), out(y);
  const std::int64_t group_in = pr.in_channels / pr.groups;
  const std::int64_t group_out = pr.out_channels / pr.groups;
  const std::int64_t row = pr.out_width() * pr.out_channels;
  // One image per chunk: contributions of one image overlap in y, images do not.
  parallel_for(0, pr.batch, 1, [&](std::int64_t n, std::int64_t) {
    std::vector<double> sums(static_cast<std::size_t>(pr.out_height() * row));
    for (std::int64_t h = 0; h < pr.height; ++h) {
      for (std::int64_t v = 0; v < pr.width; ++v) {
        for_taps(pr, h, v, [&](auto p, auto q, auto r, auto s) {
          double* a = &sums[static_cast<std::size_t>(p * row + q * pr.out_channels)];
          for (std::int64_t c = 0; c < pr.in_channels; ++c) {
            const double value = static_cast<double>(in.pixel(n, h, v)[c]);
            const T* b = filter.pixel(c, r, s);
            double* to = a + c / group_in * group_out;
            for (std::int64_t k = 0; k < group_out; ++k) to[k] += value * static_cast<double>(b[k]);
          }
        });
      }
    }
    for (std::int64_t p = 0; p < pr.out_height(); ++p)
      for (std::int64_t q = 0; q < pr.out_width(); ++q)
        for (std::int64_t k = 0; k < pr.out_channels; ++k)
          out.pixel(n, p, q)[k] =
              static_cast<T>(sums[static_cast<std::size_t>(p * row + q * pr.out_channels + k)] +
                             (bias.defined() ? static_cast<double>(bias.data<T>()[k]) : 0.0));
  });
}

template <class T>
void backward_data(const ConvTranspose2dProblem& pr, const Tensor& dy, const Tensor& w,
                   const Tensor& dx) {
  const View<T> grad(dy), filter(w), out(dx);
  const std::int64_t group_in = pr.in_channels / pr.groups;
  const std::int64_t group_out = pr.out_channels / pr.groups;
  parallel_for(0, pr.batch * pr.height, 1, [&](std::int64_t line, std::int64_t) {
    const std::int64_t n = line / pr.height, h = line % pr.height;
    for (std::int64_t v = 0; v < pr.width; ++v) {
      for (std::int64_t c = 0; c < pr.in_channels; ++c) {
        double sum = 0;
        for_taps(pr, h, v, [&](auto p, auto q, auto r, auto s) {
          const T* a = grad.pixel(n, p, q) + c / group_in * group_out;
          const T* b = filter.pixel(c, r, s);
          for (std::int64_t k = 0; k < group_out; ++k) sum += static_cast<double>(a[k]) * b[k];
        });
        out.pixel(n, h, v)[c] = static_cast<T>(sum);
      }
    }
  });
}

template <class T>
void backward_filter(const ConvTranspose2dProblem& pr, const Tensor& x, const Tensor& dy,
                     const Tensor& dw, const Tensor& dbias) {
  const View<T> in(x), grad(dy), out(dw);
  const std::int64_t group_in = pr.in_channels / pr.groups;
  const std::int64_t group_out = pr.out_channels / pr.groups;
  const std::int64_t taps = pr.kernel_h * pr.kernel_w * group_out;
  parallel_for(0, pr.in_channels, 1, [&](std::int64_t c, std::int64_t) {
    std::vector<double> sums(static_cast<std::size_t>(taps));
    for (std::int64_t n = 0; n < pr.batch; ++n) {
      for (std::int64_t h = 0; h < pr.height; ++h) {
        for (std::int64_t v = 0; v < pr.width; ++v) {
          const double value = static_cast<double>(in.pixel(n, h, v)[c]);
          for_taps(pr, h, v, [&](auto p, auto q, auto r, auto s) {
            double* a = &sums[static_cast<std::size_t>((r * pr.kernel_w + s) * group_out)];
            const T* b = grad.pixel(n, p, q) + c / group_in * group_out;
            for (std::int64_t k = 0; k < group_out; ++k) a[k] += value * static_cast<double>(b[k]);
          });
        }
      }
    }
    for (std::int64_t i = 0; i < taps; ++i)
      out.data[c * taps + i] = static_cast<T>(sums[static_cast<std::size_t>(i)]);
  });
  if (!dbias.defined()) return;
  for (std::int64_t k = 0; k < pr.out_channels; ++k) {
    double sum = 0;
    for (std::int64_t i = 0; i < pr.batch * pr.out_height() * pr.out_width(); ++i)
      sum += static_cast<double>(grad.data[i * grad.stride + k]);
    dbias.data<T>()[k] = static_cast<T>(sum);
  }
}

}  // namespace

THORAX_PROVIDER(conv_transpose2d_reference, conv_transpose2d_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const ConvTranspose2dProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                     },
                 .backward_data =
                     [](const ConvTranspose2dProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward_data<T>(p, t...); });
                     },
                 .backward_filter =
                     [](const ConvTranspose2dProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward_filter<T>(p, t...); });
                     }});

}  // namespace thorax
