#include "apps/bench/conv_check.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/runtime/philox.h"

namespace thorax::app {
namespace {

constexpr std::int64_t kProducts = 1 << 23;  // of one check, about
constexpr std::int64_t kLeast = 64;          // elements, however many products they have

// The largest `difference(element)`, over all elements or a random choice.
template <class Difference>
double worst(std::int64_t elements, std::int64_t terms, double allowed, const Difference& of) {
  const std::int64_t count = std::max(kLeast, kProducts / std::max<std::int64_t>(terms, 1));
  Philox pick(1, 9);
  double largest = 0;
  for (std::int64_t i = 0; i < std::min(count, elements); ++i) {
    const std::int64_t element =
        elements <= count
            ? i
            : static_cast<std::int64_t>(pick.below(static_cast<std::uint64_t>(elements)));
    const double difference = std::abs(of(element));
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest / allowed;
}

// The last index of `rest`, which loses it.
std::int64_t take(std::int64_t& rest, std::int64_t extent) {
  const std::int64_t index = rest % extent;
  rest /= extent;
  return index;
}

double value(const float* data, std::int64_t index) {
  return static_cast<double>(data[index]);
}

}  // namespace

ConvGeometry::ConvGeometry(const Conv2dProblem& p)
    : batch(p.batch),
      x_height(p.height),
      x_width(p.width),
      x_channels(p.in_channels),
      y_height(p.out_height()),
      y_width(p.out_width()),
      y_channels(p.out_channels),
      kernel_h(p.kernel_h),
      kernel_w(p.kernel_w),
      stride_h(p.stride_h),
      stride_w(p.stride_w),
      pad_h(p.pad_h),
      pad_w(p.pad_w),
      dilation_h(p.dilation_h),
      dilation_w(p.dilation_w),
      groups(p.groups) {}

ConvGeometry::ConvGeometry(const ConvTranspose2dProblem& p)
    : batch(p.batch),
      x_height(p.out_height()),
      x_width(p.out_width()),
      x_channels(p.out_channels),
      y_height(p.height),
      y_width(p.width),
      y_channels(p.in_channels),
      kernel_h(p.kernel_h),
      kernel_w(p.kernel_w),
      stride_h(p.stride_h),
      stride_w(p.stride_w),
      pad_h(p.pad_h),
      pad_w(p.pad_w),
      dilation_h(p.dilation_h),
      dilation_w(p.dilation_w),
      groups(p.groups) {}

double y_error(const ConvGeometry& g, const Tensor& x, const Tensor& w, const Tensor& bias,
               bool relu, const Tensor& y, double allowed) {
  const float *xs = x.data<float>(), *ws = w.data<float>(), *ys = y.data<float>();
  const std::int64_t group_in = g.x_channels / g.groups, group_out = g.y_channels / g.groups;
  return worst(y.numel(), g.y_terms(), allowed, [&](std::int64_t element) {
    std::int64_t rest = element;
    const std::int64_t k = take(rest, g.y_channels), q = take(rest, g.y_width),
                       p = take(rest, g.y_height), first = k / group_out * group_in;
    double sum = bias.defined() ? value(bias.data<float>(), k) : 0;
    for (std::int64_t r = 0; r < g.kernel_h; ++r)
      for (std::int64_t s = 0; s < g.kernel_w; ++s) {
        const std::int64_t h = p * g.stride_h - g.pad_h + r * g.dilation_h,
                           v = q * g.stride_w - g.pad_w + s * g.dilation_w;
        if (h < 0 || h >= g.x_height || v < 0 || v >= g.x_width) continue;
        const float* pixel = xs + ((rest * g.x_height + h) * g.x_width + v) * g.x_channels + first;
        const float* tap = ws + ((k * g.kernel_h + r) * g.kernel_w + s) * group_in;
        for (std::int64_t c = 0; c < group_in; ++c) sum += value(pixel, c) * value(tap, c);
      }
    return value(ys, element) - (relu && sum < 0 ? 0 : sum);
  });
}

double x_error(const ConvGeometry& g, const Tensor& y, const Tensor& gate, const Tensor& w,
               const Tensor& bias, const Tensor& x, double allowed) {
  const float *xs = x.data<float>(), *ws = w.data<float>(), *ys = y.data<float>();
  const float* gates = gate.defined() ? gate.data<float>() : nullptr;
  const std::int64_t group_in = g.x_channels / g.groups, group_out = g.y_channels / g.groups;
  return worst(x.numel(), g.x_terms(), allowed, [&](std::int64_t element) {
    std::int64_t rest = element;
    const std::int64_t c = take(rest, g.x_channels), v = take(rest, g.x_width),
                       h = take(rest, g.x_height), first = c / group_in * group_out;
    double sum = bias.defined() ? value(bias.data<float>(), c) : 0;
    for (std::int64_t r = 0; r < g.kernel_h; ++r)
      for (std::int64_t s = 0; s < g.kernel_w; ++s) {
        const std::int64_t p = h + g.pad_h - r * g.dilation_h, q = v + g.pad_w - s * g.dilation_w;
        if (p < 0 || q < 0 || p % g.stride_h != 0 || q % g.stride_w != 0) continue;
        if (p / g.stride_h >= g.y_height || q / g.stride_w >= g.y_width) continue;
        const std::int64_t pixel =
            ((rest * g.y_height + p / g.stride_h) * g.y_width + q / g.stride_w) * g.y_channels;
        for (std::int64_t k = first; k < first + group_out; ++k)
          if (gates == nullptr || gates[pixel + k] > 0)
            sum += value(ys, pixel + k) *
                   value(ws, ((k * g.kernel_h + r) * g.kernel_w + s) * group_in + c % group_in);
      }
    return value(xs, element) - sum;
  });
}

double filter_error(const ConvGeometry& g, const Tensor& x, const Tensor& y, const Tensor& gate,
                    const Tensor& dw, double allowed) {
  const float *xs = x.data<float>(), *ys = y.data<float>();
  const float* gates = gate.defined() ? gate.data<float>() : nullptr;
  const std::int64_t group_in = g.x_channels / g.groups, group_out = g.y_channels / g.groups;
  return worst(dw.numel(), g.filter_terms(), allowed, [&](std::int64_t element) {
    std::int64_t rest = element;
    const std::int64_t inner = take(rest, group_in), s = take(rest, g.kernel_w),
                       r = take(rest, g.kernel_h), k = rest, c = k / group_out * group_in + inner;
    double sum = 0;
    for (std::int64_t n = 0; n < g.batch; ++n)
      for (std::int64_t p = 0; p < g.y_height; ++p) {
        const std::int64_t h = p * g.stride_h - g.pad_h + r * g.dilation_h;
        if (h < 0 || h >= g.x_height) continue;
        for (std::int64_t q = 0; q < g.y_width; ++q) {
          const std::int64_t v = q * g.stride_w - g.pad_w + s * g.dilation_w;
          if (v < 0 || v >= g.x_width) continue;
          const std::int64_t i = ((n * g.y_height + p) * g.y_width + q) * g.y_channels + k;
          if (gates == nullptr || gates[i] > 0)
            sum +=
                value(xs, ((n * g.x_height + h) * g.x_width + v) * g.x_channels + c) * value(ys, i);
        }
      }
    return value(dw.data<float>(), element) - sum;
  });
}

}  // namespace thorax::app
