// Vectorised float32 over channels. Every task owns whole rows of what it writes, and the backward
// pass gathers - for each input pixel, the windows that cover it, in order - so that no two threads
// ever add to one value and the bits do not depend on their number.
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "engine/runtime/parallel.h"
#include "kernels/common/lanes.h"
#include "kernels/pool/pool.h"

namespace thorax {
namespace {

using namespace lanes;

using Int8 = std::int32_t __attribute__((vector_size(32)));
using Byte8 = std::uint8_t __attribute__((vector_size(8)));

constexpr std::int64_t kChunkFloats = 1 << 14;  // 64 KiB of input to a task
// Channels accumulated at a time: their running maxima stay in the first-level cache.
constexpr std::int64_t kBlock = 256;
// Windows up to this size are summed in float registers.
constexpr std::int64_t kSmallWindow = 16;

// Lane type -> the integers that go with it.
template <class V>
struct Tap {
  using type = std::int32_t;
  static void save(std::uint8_t* to, std::int32_t tap) { *to = static_cast<std::uint8_t>(tap); }
  static std::int32_t read(const std::uint8_t* from) { return *from; }
};
template <>
struct Tap<Float8> {
  using type = Int8;
  static void save(std::uint8_t* to, Int8 tap) {
    const Byte8 bytes = __builtin_convertvector(tap, Byte8);
    std::memcpy(to, &bytes, 8);
  }
  static Int8 read(const std::uint8_t* from) {
    Byte8 bytes;
    std::memcpy(&bytes, from, 8);
    return __builtin_convertvector(bytes, Int8);
  }
};
template <class V>
using TapOf = typename Tap<V>::type;

struct Image {
  float* data;
  std::int64_t width, stride;
  explicit Image(const Tensor& t)
      : data(t.data<float>()), width(t.size(2)), stride(t.pixel_stride()) {}
  // `row` counts over all images.
  float* at(std::int64_t row, std::int64_t w) const { return data + (row * width + w) * stride; }
};

// Rows of `row_floats` floats in tasks of about kChunkFloats.
std::int64_t rows_per_task(std::int64_t row_floats) {
  return std::max<std::int64_t>(1, kChunkFloats / std::max<std::int64_t>(1, row_floats));
}

// Calls fn(n, p, row of y over all images) for every output row, in parallel.
template <class Fn>
void for_output_rows(const PoolProblem& pr, const Fn& fn) {
  const std::int64_t height = pr.out_height();
  parallel_for(0, pr.batch * height, rows_per_task(pr.stride_h * pr.width * pr.channels),
               [&](std::int64_t first, std::int64_t last) {
                 for (std::int64_t row = first; row < last; ++row)
                   fn(row / height, row % height, row);
               });
}

// Keeps the larger of `best` and `value`, and its tap; a NaN wins.
template <class V>
inline void take(V& best, TapOf<V>& tap, V value, std::int32_t index) {
  const auto wins = (value > best) | (value != value);
  best = wins ? value : best;
  tap = wins ? TapOf<V>{} + index : tap;
}

// 2 x 2, stride 2, no padding: four loads, three comparisons.
template <bool kTaps>
void max_2x2_row(const Image& in, std::int64_t row, float* out, std::int64_t out_stride,
                 std::uint8_t* taps, std::int64_t out_width, std::int64_t channels) {
  for (std::int64_t q = 0; q < out_width; ++q) {
    const float *a = in.at(row, 2 * q), *b = in.at(row, 2 * q + 1);
    const float *c = in.at(row + 1, 2 * q), *d = in.at(row + 1, 2 * q + 1);
    float* to = out + q * out_stride;
    std::uint8_t* tap_to = kTaps ? taps + q * channels : nullptr;
    for_lanes_overlapped(channels, [=]<class V>(std::int64_t i) {
      V best = load<V>(a + i);
      TapOf<V> tap{};
      take(best, tap, load<V>(b + i), 1);
      take(best, tap, load<V>(c + i), 2);
      take(best, tap, load<V>(d + i), 3);
      store(to + i, best);
      if constexpr (kTaps) Tap<V>::save(tap_to + i, tap);
    });
  }
}

// Any window: tap by tap over the channels in the registers.
template <bool kTaps>
void max_row(const PoolProblem& pr, const Image& in, std::int64_t image_row, std::int64_t p,
             float* out, std::int64_t out_stride, std::uint8_t* taps) {
  const PoolWindow rows = window_rows(pr, p);
  const std::int64_t top = p * pr.stride_h - pr.pad_h, out_width = pr.out_width();
  for (std::int64_t q = 0; q < out_width; ++q) {
    const PoolWindow columns = window_columns(pr, q);
    const std::int64_t left = q * pr.stride_w - pr.pad_w;
    float* to = out + q * out_stride;
    std::uint8_t* tap_to = kTaps ? taps + q * pr.channels : nullptr;
    for_lanes_overlapped(pr.channels, [&, to, tap_to]<class V>(std::int64_t i) {
      V best = V{} - std::numeric_limits<float>::infinity();
      TapOf<V> tap = TapOf<V>{} + static_cast<std::int32_t>((rows.begin - top) * pr.kernel_w +
                                                            columns.begin - left);
      for (std::int64_t h = rows.begin; h < rows.end; ++h) {
        const float* from = in.at(image_row + h, columns.begin) + i;
        std::int32_t index =
            static_cast<std::int32_t>((h - top) * pr.kernel_w + columns.begin - left);
        for (std::int64_t w = columns.begin; w < columns.end; ++w, ++index, from += in.stride)
          take(best, tap, load<V>(from), index);
      }
      store(to + i, best);
      if constexpr (kTaps) Tap<V>::save(tap_to + i, tap);
    });
  }
}

bool is_2x2(const PoolProblem& pr) {
  return pr.kernel_h == 2 && pr.kernel_w == 2 && pr.stride_h == 2 && pr.stride_w == 2 &&
         pr.pad_h == 0 && pr.pad_w == 0 && 2 * pr.out_height() <= pr.height &&
         2 * pr.out_width() <= pr.width;
}

void max_forward(const PoolProblem& pr, const Tensor& x, const Tensor& y, const Tensor& argmax) {
  const Image in(x), out(y);
  std::uint8_t* taps = argmax.defined() ? argmax.data<std::uint8_t>() : nullptr;
  const bool small = is_2x2(pr);
  for_output_rows(pr, [&](std::int64_t n, std::int64_t p, std::int64_t row) {
    float* to = out.at(row, 0);
    const std::int64_t image_row = n * pr.height;
    std::uint8_t* tap_to = taps == nullptr ? nullptr : taps + row * pr.out_width() * pr.channels;
    if (small && taps != nullptr)
      max_2x2_row<true>(in, image_row + 2 * p, to, out.stride, tap_to, out.width, pr.channels);
    else if (small)
      max_2x2_row<false>(in, image_row + 2 * p, to, out.stride, nullptr, out.width, pr.channels);
    else if (taps != nullptr)
      max_row<true>(pr, in, image_row, p, to, out.stride, tap_to);
    else
      max_row<false>(pr, in, image_row, p, to, out.stride, nullptr);
  });
}

// Small windows: sums in registers.
void avg_forward_small(const PoolProblem& pr, const Tensor& x, const Tensor& y) {
  const Image in(x), out(y);
  for_output_rows(pr, [&](std::int64_t n, std::int64_t p, std::int64_t row) {
    const PoolWindow rows = window_rows(pr, p);
    for (std::int64_t q = 0; q < out.width; ++q) {
      const PoolWindow columns = window_columns(pr, q);
      const float divisor = static_cast<float>(pool_divisor(pr, rows, columns));
      const float* from = in.at(n * pr.height + rows.begin, columns.begin);
      const std::int64_t height = rows.end - rows.begin, width = columns.end - columns.begin;
      const std::int64_t pixel = in.stride, line = in.width * in.stride;
      float* to = out.at(row, q);
      for_lanes_overlapped(pr.channels, [=]<class V>(std::int64_t i) {
        V sum{};
        for (std::int64_t h = 0; h < height; ++h)
          for (std::int64_t w = 0; w < width; ++w) sum += load<V>(from + h * line + w * pixel + i);
        store(to + i, sum / (V{} + divisor));
      });
    }
  });
}

// Sums of long windows: each row of pixels in float, the rows in double.
void avg_forward(const PoolProblem& pr, const Tensor& x, const Tensor& y) {
  if (pr.kernel_h * pr.kernel_w <= kSmallWindow) return avg_forward_small(pr, x, y);
  const Image in(x), out(y);
  for_output_rows(pr, [&](std::int64_t n, std::int64_t p, std::int64_t row) {
    const PoolWindow rows = window_rows(pr, p);
    std::vector<float> line(static_cast<std::size_t>(std::min(pr.channels, kBlock)));
    std::vector<double> sums(line.size());
    for (std::int64_t q = 0; q < pr.out_width(); ++q) {
      const PoolWindow columns = window_columns(pr, q);
      const double divisor = static_cast<double>(pool_divisor(pr, rows, columns));
      for (std::int64_t c = 0; c < pr.channels; c += kBlock) {
        const std::int64_t count = std::min(kBlock, pr.channels - c);
        std::fill(sums.begin(), sums.end(), 0.0);
        for (std::int64_t h = rows.begin; h < rows.end; ++h) {
          float* part = line.data();
          std::fill(line.begin(), line.end(), 0.0f);
          for (std::int64_t w = columns.begin; w < columns.end; ++w) {
            const float* from = in.at(n * pr.height + h, w) + c;
            for_lanes(count, [=]<class V>(std::int64_t i) {
              store(part + i, load<V>(part + i) + load<V>(from + i));
            });
          }
          for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
            sums[i] += static_cast<double>(line[i]);
        }
        float* to = out.at(row, q) + c;
        for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
          to[i] = static_cast<float>(sums[i] / divisor);
      }
    }
  });
}

// Windows [first, last) along one axis that cover `position`.
struct Cover {
  std::int64_t first, last;
  Cover(std::int64_t position, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
        std::int64_t count) {
    const std::int64_t from = position + pad - kernel + 1;
    first = from <= 0 ? 0 : (from + stride - 1) / stride;
    last = std::min(count, (position + pad) / stride + 1);
  }
};

void max_backward_2x2(const PoolProblem& pr, const Tensor& dy, const Tensor& argmax,
                      const Tensor& dx) {
  const Image grad(dy), out(dx);
  const std::uint8_t* taps = argmax.data<std::uint8_t>();
  const std::int64_t channels = pr.channels, pairs = (pr.height + 1) / 2;
  const std::int64_t out_height = pr.out_height(), out_width = pr.out_width();
  parallel_for(0, pr.batch * pairs, rows_per_task(2 * pr.width * channels),
               [&](std::int64_t first, std::int64_t last) {
                 for (std::int64_t pair = first; pair < last; ++pair) {
                   const std::int64_t n = pair / pairs, p = pair % pairs, h = n * pr.height + 2 * p;
                   std::int64_t covered = 0;
                   if (p < out_height) {
                     const std::int64_t row = n * out_height + p;
                     for (std::int64_t q = 0; q < out_width; ++q) {
                       const float* from = grad.at(row, q);
                       const std::uint8_t* tap_from = taps + (row * out_width + q) * channels;
                       float *a = out.at(h, 2 * q), *b = out.at(h, 2 * q + 1);
                       float *c = out.at(h + 1, 2 * q), *d = out.at(h + 1, 2 * q + 1);
                       for_lanes_overlapped(channels, [=]<class V>(std::int64_t i) {
                         const TapOf<V> tap = Tap<V>::read(tap_from + i);
                         const V g = load<V>(from + i), zero{};
                         store(a + i, tap == TapOf<V>{} ? g : zero);
                         store(b + i, tap == TapOf<V>{} + 1 ? g : zero);
                         store(c + i, tap == TapOf<V>{} + 2 ? g : zero);
                         store(d + i, tap == TapOf<V>{} + 3 ? g : zero);
                       });
                     }
                     covered = 2 * out_width;
                   }
                   for (std::int64_t r = 0; r < std::min<std::int64_t>(2, pr.height - 2 * p); ++r)
                     for (std::int64_t w = covered; w < pr.width; ++w)
                       std::fill_n(out.at(h + r, w), channels, 0.0f);
                 }
               });
}

// One window that covers an input pixel: where its gradient lies, its argmax bytes (max), the tap
// that the pixel is in it (max), the weight that the pixel has in it (avg).
struct Use {
  const float* gradient;
  const std::uint8_t* taps;
  std::int32_t tap;
  float weight;
};

// Calls fn(dx pixel, uses) for every input pixel, in parallel.
template <class Fn>
void for_input_pixels(const PoolProblem& pr, const Tensor& dy, const Tensor& argmax,
                      const Tensor& dx, const Fn& fn) {
  const Image grad(dy), out(dx);
  const std::uint8_t* taps = argmax.defined() ? argmax.data<std::uint8_t>() : nullptr;
  const std::int64_t out_height = pr.out_height(), out_width = pr.out_width();
  std::vector<PoolWindow> columns;
  for (std::int64_t q = 0; q < out_width; ++q) columns.push_back(window_columns(pr, q));
  parallel_for(
      0, pr.batch * pr.height, rows_per_task(pr.width * pr.channels),
      [&](std::int64_t first, std::int64_t last) {
        std::vector<Use> uses;
        for (std::int64_t row = first; row < last; ++row) {
          const std::int64_t n = row / pr.height, h = row % pr.height;
          const Cover ps(h, pr.kernel_h, pr.stride_h, pr.pad_h, out_height);
          for (std::int64_t w = 0; w < pr.width; ++w) {
            const Cover qs(w, pr.kernel_w, pr.stride_w, pr.pad_w, out_width);
            uses.clear();
            for (std::int64_t p = ps.first; p < ps.last; ++p) {
              const std::int64_t out_row = n * out_height + p;
              const std::int64_t r = h - p * pr.stride_h + pr.pad_h;
              const PoolWindow rows = window_rows(pr, p);
              for (std::int64_t q = qs.first; q < qs.last; ++q) {
                const std::int64_t tap = r * pr.kernel_w + w - q * pr.stride_w + pr.pad_w;
                const std::int64_t divisor =
                    pool_divisor(pr, rows, columns[static_cast<std::size_t>(q)]);
                uses.push_back(
                    {grad.at(out_row, q),
                     taps == nullptr ? nullptr : taps + (out_row * out_width + q) * pr.channels,
                     static_cast<std::int32_t>(tap), 1.0f / static_cast<float>(divisor)});
              }
            }
            fn(out.at(row, w), std::span<const Use>(uses));
          }
        }
      });
}

void max_backward(const PoolProblem& pr, const Tensor& dy, const Tensor& argmax, const Tensor& dx) {
  if (is_2x2(pr)) return max_backward_2x2(pr, dy, argmax, dx);
  for_input_pixels(pr, dy, argmax, dx, [&](float* to, std::span<const Use> uses) {
    for_lanes_overlapped(pr.channels, [=]<class V>(std::int64_t i) {
      V sum{};
      for (const Use& use : uses)
        sum += Tap<V>::read(use.taps + i) == TapOf<V>{} + use.tap ? load<V>(use.gradient + i) : V{};
      store(to + i, sum);
    });
  });
}

void avg_backward(const PoolProblem& pr, const Tensor& dy, const Tensor& dx) {
  for_input_pixels(pr, dy, {}, dx, [&](float* to, std::span<const Use> uses) {
    for_lanes_overlapped(pr.channels, [=]<class V>(std::int64_t i) {
      V sum{};
      for (const Use& use : uses) sum = fused(load<V>(use.gradient + i), V{} + use.weight, sum);
      store(to + i, sum);
    });
  });
}

}  // namespace

THORAX_PROVIDER(
    pool_cpu, pool_providers(),
    {.name = "cpu",
     .device = DeviceKind::cpu,
     .priority = [](const PoolProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
     .forward =
         [](const PoolProblem& p, const Tensor& x, const Tensor& y, const Tensor& argmax) {
           p.kind == PoolKind::max ? max_forward(p, x, y, argmax) : avg_forward(p, x, y);
         },
     .backward =
         [](const PoolProblem& p, const Tensor& dy, const Tensor& argmax, const Tensor& dx) {
           p.kind == PoolKind::max ? max_backward(p, dy, argmax, dx) : avg_backward(p, dy, dx);
         }});

}  // namespace thorax
